"""The gateway, put together."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from hemaserve.addresses import may_have_replicas, of_a_name, replicas
from hemaserve.errors import DomainError, Unavailable
from hemaserve.image_files.facts import ImageLimits
from hemaserve.v1 import classifier_pb2, detector_pb2, gateway_pb2, gateway_pb2_grpc
from services.gateway.capacity import fields_capacity, streams_capacity
from services.gateway.classifier import ClassifierClient
from services.gateway.classify_cells import CellNaming
from services.gateway.detector import DetectorClient
from services.gateway.early_refusal import EarlyRefusal
from services.gateway.explain_cell import CellExplaining
from services.gateway.located_cells import CellCutter
from services.gateway.metrics import GatewayMetrics
from services.gateway.model_versions import ModelVersions
from services.gateway.models import ModelDirectory
from services.gateway.pipeline import FieldPipeline
from services.gateway.rollout_metrics import RolloutMetrics
from services.gateway.servicer import SmearServicer
from services.gateway.settings import GatewaySettings
from services.runtime.admission import Admission
from services.runtime.admission_metrics import AdmissionMetrics
from services.runtime.decoders import Decoders
from services.runtime.hedging import Hedging
from services.runtime.process import Service
from services.runtime.remote import open_channel, remote_errors
from services.runtime.tasks import first_of, task_group

if TYPE_CHECKING:
    from services.gateway.access.open import Access

_CHECK_TIMEOUT_S = 1.0
_REPLICAS_OF_A_NAME = 4
_SERVICE = gateway_pb2.DESCRIPTOR.services_by_name["SmearService"].full_name
_DETECTOR = detector_pb2.DESCRIPTOR.services_by_name["DetectorService"].full_name
_CLASSIFIER = classifier_pb2.DESCRIPTOR.services_by_name["ClassifierService"].full_name


class GatewayApplication:
    """What the gateway brings to its server."""

    def __init__(self, settings: GatewaySettings, decoders: Decoders | None = None) -> None:
        """Needs a running event loop. Connects when the first call is made.

        Raises:
            OSError: the rollout file cannot be used.
        """
        self._settings = settings
        self._access: Access | None = None
        self._to_detector = _open(settings.detector_address, settings)
        self._to_classifier = _open(settings.classifier_address, settings)
        self._detector_checks = _checks(settings.detector_address)
        self._classifier_checks = _checks(settings.classifier_address)
        self._threads = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="images")
        detector, classifier = DetectorClient(self._to_detector), ClassifierClient(self._to_classifier)
        models = ModelDirectory(detector, classifier, max_age_s=settings.models_max_age_s)
        self._own_decoders = decoders is None
        self._decoders = decoders or Decoders(settings.decoders)
        cutter = CellCutter(
            self._decoders, self._threads, _cell_image_limits(settings), at_once=settings.decode_threads
        )
        admission = AdmissionMetrics()
        self.metrics = admission.registry
        self._versions = ModelVersions(settings.rollout, models, RolloutMetrics(self.metrics))
        self._decoders.tell(self.metrics)
        self.fields = Admission(fields_capacity(settings.fields_at_once, settings.fields_waiting), admission)
        self.streams = Admission(streams_capacity(settings.streams_at_once), admission)
        self._servicer = SmearServicer(
            settings,
            fields=self.fields,
            streams=self.streams,
            detector=detector,
            classifier=classifier,
            models=models,
            versions=self._versions,
            pipeline=FieldPipeline(detector, classifier, models, _hedging(settings)),
            naming=CellNaming(classifier, models, cutter),
            explaining=CellExplaining(classifier, models, cutter),
            threads=self._threads,
            metrics=GatewayMetrics(self.metrics),
        )

    @property
    def service_names(self) -> Sequence[str]:
        """Full gRPC names of its services."""
        return (_SERVICE,)

    def interceptors(self, registry: CollectorRegistry) -> Sequence[grpc.aio.ServerInterceptor]:
        """The door of a secured gateway, which an open one has not; behind it, whether there is room.

        Raises:
            OSError: the access file cannot be used.
        """
        early = EarlyRefusal(self.fields, default_timeout_s=self._settings.default_timeout_s)
        if self._settings.access is None:
            return (early,)
        # Only where it is used: what verifies tokens takes its share of the memory.
        from services.gateway.access.open import Access  # noqa: PLC0415

        self._access = Access(self._settings.access, self._settings, registry)
        return (self._access.interceptor, early)

    def register(self, server: grpc.aio.Server) -> None:
        """Add its servicer."""
        gateway_pb2_grpc.add_SmearServiceServicer_to_server(self._servicer, server)

    async def check(self) -> None:
        """Return while detector and classifier both say that they are serving.

        Raises:
            Unavailable: one of them does not.
        """
        async with task_group() as group:
            group.create_task(_check_serving(self._to_detector, self._detector_checks, _DETECTOR, "detector"))
            group.create_task(
                _check_serving(self._to_classifier, self._classifier_checks, _CLASSIFIER, "classifier")
            )

    async def close(self) -> None:
        """Close the channels, end the threads, and write the audit log to its end."""
        if self._access is not None:
            await asyncio.to_thread(self._access.close)
        await self._versions.close()
        await self._to_detector.close()
        await self._to_classifier.close()
        self._threads.shutdown(wait=False, cancel_futures=True)
        if self._own_decoders:
            await self._decoders.close()


def _open(address: str, settings: GatewaySettings) -> grpc.aio.Channel:
    return open_channel(
        address,
        max_message_bytes=settings.max_message_bytes,
        tls=settings.downstream_tls,
        server_name=settings.tls_server_name,
    )


def _hedging(settings: GatewaySettings) -> Hedging | None:
    behind = (settings.detector_address, settings.classifier_address)
    return Hedging(settings.hedge_share) if any(map(may_have_replicas, behind)) else None


def _cell_image_limits(settings: GatewaySettings) -> ImageLimits:
    side = settings.max_cell_image_side_px
    return ImageLimits(max_bytes=settings.max_image_bytes, max_side_px=side, max_pixels=side * side)


def _checks(address: str) -> int:
    """How many questions side by side reach every replica, as gRPC hands them out in turn."""
    return _REPLICAS_OF_A_NAME if of_a_name(address) else len(replicas(address))


async def _check_serving(channel: grpc.aio.Channel, count: int, service: str, name: str) -> None:
    check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # set by its __init__

    async def ask() -> bool:
        try:
            with remote_errors(name):
                answer = await check(health_pb2.HealthCheckRequest(service=service), timeout=_CHECK_TIMEOUT_S)
        except DomainError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    # One replica that serves is enough; whether the others do is what the one answer must not depend on.
    if not await first_of(ask() for _ in range(count)):
        raise Unavailable(f"the {name} is not serving", reason="DEPENDENCY_UNAVAILABLE")


async def open_application(settings: GatewaySettings, decoders: Decoders | None = None) -> GatewayApplication:
    """The gateway, with decoders of its own or these, ready to be served."""
    return GatewayApplication(settings, decoders)


def service(settings: GatewaySettings, decoders: Decoders | None = None) -> Service:
    """The gateway as a process runs it."""
    return Service("gateway", settings, lambda: open_application(settings, decoders))
