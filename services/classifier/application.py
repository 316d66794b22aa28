"""Puts the classifier together."""

from collections.abc import Sequence

import grpc.aio

from hemaserve.v1 import classifier_pb2, classifier_pb2_grpc
from services.classifier.catalogue import ModelCatalogue
from services.classifier.classifier import Classifier
from services.classifier.crops import CropLimits, CropReader
from services.classifier.ensemble import Networks
from services.classifier.metrics import ClassifierMetrics
from services.classifier.profiles import SiteProfiles
from services.classifier.screening import Screening
from services.classifier.servicer import ClassifierServicer
from services.classifier.settings import ClassifierSettings
from services.classifier.shadow import Shadow
from services.classifier.shadow_metrics import ShadowMetrics
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


class ClassifierApplication:
    """The classifier service on one Triton."""

    def __init__(
        self, settings: ClassifierSettings, triton: TritonClient, decoders: Decoders | None = None
    ) -> None:
        self._own_decoders = decoders is None
        self._decoders = decoders or Decoders(settings.decoders)
        self._triton = triton
        admission = AdmissionMetrics()
        self.metrics = admission.registry
        self._decoders.tell(self.metrics)
        self._catalogue = ModelCatalogue(
            triton,
            default=settings.default_model,
            default_members=settings.default_members,
            metrics=ModelMetrics(self.metrics),
        )
        limits = CropLimits(settings.min_crop_side_px, settings.max_crop_side_px)
        reader = CropReader(self._decoders, limits)
        # One bound for all who work on crops: it is their pixels' memory that it is about.
        crops = Capacity(
            "crops", settings.crops_at_once, settings.crops_waiting, kept_for_stat=settings.crops_at_once // 4
        )
        fields = Capacity("fields", settings.fields_at_once, settings.fields_waiting, kept_for_stat=1)
        capacity = Admission(crops, admission)
        pace = TritonPace(triton, PaceLimits(settings.max_batch_ms, settings.batches_at_once), admission)
        networks = Networks(pace, self._catalogue)
        profiles = SiteProfiles(settings.site_profiles)
        metrics = ClassifierMetrics(self.metrics)
        self._shadow = Shadow(self._catalogue, networks, ShadowMetrics(self.metrics))
        classifier = Classifier(
            self._catalogue, networks, reader, profiles, capacity, metrics=metrics, shadow=self._shadow
        )
        self._workers = Workers(settings.workers)
        screening = Screening(
            triton,
            pace,
            field_model=settings.screen_field_model,
            cell_model=settings.screen_cell_model,
            gate=FieldGate(
                self._decoders, self._workers, settings.image_limits, Admission(fields, admission)
            ),
            workers=self._workers,
            reader=reader,
            capacity=capacity,
        )
        self._servicer = ClassifierServicer(
            settings, self._catalogue, classifier, profiles, screening, metrics
        )

    @property
    def service_names(self) -> Sequence[str]:
        """Full gRPC names."""
        return [classifier_pb2.DESCRIPTOR.services_by_name["ClassifierService"].full_name]

    def register(self, server: grpc.aio.Server) -> None:
        """Add the servicer."""
        classifier_pb2_grpc.add_ClassifierServiceServicer_to_server(self._servicer, server)

    async def check(self) -> None:
        """Return when the default model answers.

        Raises:
            Unavailable: Triton or the default model is not ready.
        """
        await self._catalogue.check()

    async def close(self) -> None:
        """End the threads and close the channel to Triton."""
        await self._shadow.close()
        self._workers.close()
        if self._own_decoders:
            await self._decoders.close()
        await self._triton.close()


async def open_application(
    settings: ClassifierSettings, decoders: Decoders | None = None
) -> ClassifierApplication:
    """The application on the Triton that the settings name; Triton need not be there yet."""
    loads = LoadPolicy(settings.load_on_request, settings.stack_profile)
    triton = TritonClient(settings.triton_address, loads, tls=settings.triton_tls)
    return ClassifierApplication(settings, triton, decoders)


def service(settings: ClassifierSettings, decoders: Decoders | None = None) -> Service:
    """The classifier as a process runs it."""
    return Service("classifier", settings, lambda: open_application(settings, decoders))
