"""Puts the classifier together."""

from collections.abc import Sequence

import grpc.aio

from hemaserve.v1 import classifier_pb2, classifier_pb2_grpc
from services.classifier.catalogue import ModelCatalogue
from services.classifier.classifier import Classifier
from services.classifier.crops import CropLimits
from services.classifier.ensemble import Networks
from services.classifier.servicer import ClassifierServicer
from services.classifier.settings import ClassifierSettings
from services.triton.client import TritonClient


class ClassifierApplication:
    """The classifier service on one Triton."""

    def __init__(self, settings: ClassifierSettings, triton: TritonClient) -> None:
        self._triton = triton
        self._catalogue = ModelCatalogue(
            triton, default=settings.default_model, default_members=settings.default_members
        )
        limits = CropLimits(settings.min_crop_side_px, settings.max_crop_side_px)
        networks = Networks(triton, self._catalogue)
        classifier = Classifier(self._catalogue, networks, limits, crops_at_once=settings.crops_at_once)
        self._servicer = ClassifierServicer(settings, self._catalogue, classifier)

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
        """Close the channel to Triton."""
        await self._triton.close()


async def open_application(settings: ClassifierSettings) -> ClassifierApplication:
    """The application on the Triton that the settings name; Triton need not be there yet."""
    return ClassifierApplication(settings, TritonClient(settings.triton_address))
