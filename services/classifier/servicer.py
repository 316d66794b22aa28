"""ClassifierService: between protobuf and the domain, and nothing else."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc.aio

from hemaserve.v1 import classifier_pb2, classifier_pb2_grpc
from services.classifier import translate, translate_screening
from services.classifier.catalogue import ModelCatalogue
from services.classifier.classifier import Classifier
from services.classifier.concurrency import in_order
from services.classifier.metrics import ClassifierMetrics
from services.classifier.profiles import SiteProfiles
from services.classifier.screening import Screening
from services.classifier.settings import ClassifierSettings
from services.runtime.caller import enter_behind_door
from services.runtime.remote import remaining_s
from services.runtime.span_signals import REQUEST
from services.runtime.stages import stage
from services.runtime.streams import unless_idle
from services.runtime.tracing import Within

Context = grpc.aio.ServicerContext[Any, Any]


class ClassifierServicer(classifier_pb2_grpc.ClassifierServiceServicer):
    """Names cells from their crops, explains the names, and screens fields and cells."""

    def __init__(
        self,
        settings: ClassifierSettings,
        catalogue: ModelCatalogue,
        classifier: Classifier,
        profiles: SiteProfiles,
        screening: Screening,
        metrics: ClassifierMetrics,
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._classifier = classifier
        self._profiles = profiles
        self._screening = screening
        self._metrics = metrics

    async def Classify(
        self, request_iterator: AsyncIterator[classifier_pb2.ClassifyRequest], context: Context
    ) -> AsyncIterator[classifier_pb2.ClassifyResponse]:
        """One response for each request, in their order, several under way at a time."""

        async def classify(request: classifier_pb2.ClassifyRequest) -> classifier_pb2.ClassifyResponse:
            began = time.perf_counter()
            with Within(REQUEST):
                timeout_s = self._timeout_s(context)
                asked = translate.request_from_proto(request, max_cells=self._settings.max_cells_per_request)
                # Its pixels live on in the crops, and there only until they are read.
                del request
                classified = await self._classifier.classify(
                    asked.model,
                    asked.crops,
                    site_profile=asked.site_profile,
                    shadow_model=asked.shadow_model,
                    timeout_s=timeout_s,
                )
                with stage("assemble"):
                    translate.fill_in(asked.response, classified)
            self._metrics.answered(time.perf_counter() - began)
            return asked.response

        enter_behind_door(context)
        requests = unless_idle(request_iterator, self._settings.stream_idle_s)
        at_once = self._settings.requests_in_flight
        with self._classifier.caller_at_work():
            async with aclosing(in_order(requests, classify, at_once=at_once)) as responses:
                async for response in responses:
                    yield response

    async def Explain(
        self, request: classifier_pb2.ExplainRequest, context: Context
    ) -> classifier_pb2.ExplainResponse:
        """What in one crop speaks for a type."""
        enter_behind_door(context)
        asked = translate.explain_request_from_proto(request)
        explained = await self._classifier.explain(
            asked.model,
            asked.crop,
            asked.cell_type,
            site_profile=asked.site_profile,
            timeout_s=self._timeout_s(context),
        )
        return translate.explain_response_to_proto(explained)

    async def ScreenCells(
        self, request_iterator: AsyncIterator[classifier_pb2.ScreenCellsRequest], context: Context
    ) -> AsyncIterator[classifier_pb2.ScreenCellsResponse]:
        """One response for each request, in their order, several under way at a time."""

        async def screen(request: classifier_pb2.ScreenCellsRequest) -> classifier_pb2.ScreenCellsResponse:
            with Within(REQUEST):
                timeout_s = self._timeout_s(context)
                crops = translate.crops_from_proto(request, max_cells=self._settings.max_cells_per_request)
                cell_ids = [cell.crop.cell_id for cell in request.cells]
                del request
                screened = await self._screening.cells(crops, timeout_s=timeout_s)
                with stage("assemble"):
                    return translate_screening.cells_response_to_proto(cell_ids, screened)

        enter_behind_door(context)
        requests = unless_idle(request_iterator, self._settings.stream_idle_s)
        at_once = self._settings.requests_in_flight
        async with aclosing(in_order(requests, screen, at_once=at_once)) as responses:
            async for response in responses:
                yield response

    async def ScreenField(
        self, request: classifier_pb2.ScreenFieldRequest, context: Context
    ) -> classifier_pb2.ScreenFieldResponse:
        """What the screen says of one field."""
        enter_behind_door(context)
        screened = await self._screening.field(request.image, timeout_s=self._timeout_s(context))
        return translate_screening.field_response_to_proto(screened)

    async def ListClassifiers(
        self,
        request: classifier_pb2.ListClassifiersRequest,  # noqa: ARG002 - it has no fields
        context: Context,  # noqa: ARG002
    ) -> classifier_pb2.ListClassifiersResponse:
        """The models that requests can name, and the screen's networks."""
        listed = await self._catalogue.listed()
        screening = await self._screening.models()
        on_request = await self._catalogue.on_request()
        return classifier_pb2.ListClassifiersResponse(
            models=[
                *map(translate.model_to_proto, listed),
                *map(translate_screening.screening_model_to_proto, screening),
                *map(translate.unloaded_model_to_proto, on_request),
            ]
        )

    async def ListClassifierSiteProfiles(
        self,
        request: classifier_pb2.ListClassifierSiteProfilesRequest,  # noqa: ARG002 - it has no fields
        context: Context,  # noqa: ARG002
    ) -> classifier_pb2.ListClassifierSiteProfilesResponse:
        """The site profiles that requests can name."""
        stored = await asyncio.to_thread(self._profiles.all)
        return classifier_pb2.ListClassifierSiteProfilesResponse(
            site_profiles=map(translate.site_profile_to_proto, stored)
        )

    def _timeout_s(self, context: Context) -> float:
        """How long the request at hand may take, in seconds."""
        limit_s = self._settings.request_timeout_s
        return min(remaining_s(context, limit_s), limit_s)
