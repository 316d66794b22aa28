"""Puts the detector together."""

from collections.abc import Sequence
from typing import Final

import grpc.aio

from hemaserve.errors import Unavailable
from hemaserve.v1 import detector_pb2, detector_pb2_grpc
from services.detector.detection import Detector
from services.detector.metrics import DetectorMetrics
from services.detector.models import ModelCatalog
from services.detector.network import Network
from services.detector.servicer import DetectorServicer
from services.detector.settings import DetectorSettings
from services.runtime.admission import Admission, Capacity
from services.runtime.admission_metrics import AdmissionMetrics
from services.runtime.decoders import Decoders
from services.runtime.fields import FieldGate
from services.runtime.process import Service
from services.runtime.workers import Workers
from services.triton.client import TritonClient
from services.triton.loading import LoadPolicy
from services.triton.metrics import ModelMetrics
from services.triton.pace import PaceLimits, TritonPace

SERVICE_NAME: Final = detector_pb2.DESCRIPTOR.services_by_name["DetectorService"].full_name


class DetectorApplication:
    """The detector service, ready to be served."""

    def __init__(self, settings: DetectorSettings, decoders: Decoders | None = None) -> None:
        self._own_decoders = decoders is None
        self._decoders = decoders or Decoders(settings.decoders)
        self._triton = TritonClient(
            settings.triton_address,
            LoadPolicy(settings.load_on_request, settings.stack_profile),
            tls=settings.triton_tls,
        )
        self._workers = Workers(settings.workers)
        admission = AdmissionMetrics()
        self.metrics = admission.registry
        self._decoders.tell(self.metrics)
        self._catalog = ModelCatalog(
            self._triton,
            default=settings.default_model,
            refresh_s=settings.models_refresh_s,
            metrics=ModelMetrics(self.metrics),
        )
        fields = Capacity("fields", settings.fields_at_once, settings.fields_waiting, kept_for_stat=1)
        gate = FieldGate(self._decoders, self._workers, settings.image_limits, Admission(fields, admission))
        pace = TritonPace(
            self._triton, PaceLimits(settings.max_batch_ms, settings.batches_at_once), admission
        )
        network = Network(pace, self._workers, batches_in_flight=settings.batches_in_flight)
        self._servicer = DetectorServicer(
            Detector(
                self._catalog, gate, network, self._workers, settings.tiling, DetectorMetrics(self.metrics)
            ),
            self._catalog,
            default_timeout_s=settings.default_timeout_s,
            chunk_bytes=settings.chunk_bytes,
        )

    @property
    def service_names(self) -> Sequence[str]:
        return (SERVICE_NAME,)

    def register(self, server: grpc.aio.Server) -> None:
        detector_pb2_grpc.add_DetectorServiceServicer_to_server(self._servicer, server)

    async def check(self) -> None:
        """Raises a domain error while the default model cannot be used."""
        model = await self._catalog.get(self._catalog.default)
        if not await self._catalog.ready(model.name):
            raise Unavailable(f"model {model.name} is not ready", reason="MODEL_NOT_READY")

    async def close(self) -> None:
        self._workers.close()
        if self._own_decoders:
            await self._decoders.close()
        await self._triton.close()


async def open_application(
    settings: DetectorSettings, decoders: Decoders | None = None
) -> DetectorApplication:
    """The detector, with decoders of its own or these; Triton need not be there yet."""
    return DetectorApplication(settings, decoders)


def service(settings: DetectorSettings, decoders: Decoders | None = None) -> Service:
    """The detector as a process runs it."""
    return Service("detector", settings, lambda: open_application(settings, decoders))
