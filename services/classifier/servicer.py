"""ClassifierService: between protobuf and the domain, and nothing else."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc.aio

from hemaserve.v1 import classifier_pb2, classifier_pb2_grpc
from services.classifier import translate
from services.classifier.catalogue import ModelCatalogue
from services.classifier.classifier import Classifier
from services.classifier.concurrency import in_order
from services.classifier.settings import ClassifierSettings
from services.runtime.remote import remaining_s

Context = grpc.aio.ServicerContext[Any, Any]


class ClassifierServicer(classifier_pb2_grpc.ClassifierServiceServicer):
    """Names cells from their crops."""

    def __init__(
        self, settings: ClassifierSettings, catalogue: ModelCatalogue, classifier: Classifier
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._classifier = classifier

    async def Classify(
        self, request_iterator: AsyncIterator[classifier_pb2.ClassifyRequest], context: Context
    ) -> AsyncIterator[classifier_pb2.ClassifyResponse]:
        """One response for each request, in their order, several under way at a time."""

        async def classify(request: classifier_pb2.ClassifyRequest) -> classifier_pb2.ClassifyResponse:
            limit_s = self._settings.request_timeout_s
            timeout_s = min(remaining_s(context, limit_s), limit_s)
            asked = translate.request_from_proto(request, max_cells=self._settings.max_cells_per_request)
            # Its pixels live on in the crops, and there only until they are read.
            del request
            classified = await self._classifier.classify(asked.model, asked.crops, timeout_s=timeout_s)
            return translate.response_to_proto(asked.cells, classified)

        at_once = self._settings.requests_in_flight
        async with aclosing(in_order(request_iterator, classify, at_once=at_once)) as responses:
            async for response in responses:
                yield response

    async def ListClassifiers(
        self,
        request: classifier_pb2.ListClassifiersRequest,  # noqa: ARG002 - it has no fields
        context: Context,  # noqa: ARG002
    ) -> classifier_pb2.ListClassifiersResponse:
        """The models that requests can name."""
        listed = await self._catalogue.listed()
        return classifier_pb2.ListClassifiersResponse(models=map(translate.model_to_proto, listed))
