"""SmearService: between protobuf and the domain, and nothing else."""

import asyncio
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from typing import Any

import grpc.aio

from hemaserve.crops import CropEncoding
from hemaserve.errors import FailedPrecondition
from hemaserve.v1 import gateway_pb2, gateway_pb2_grpc
from services.gateway import requests, results
from services.gateway.classifier import ClassifierClient
from services.gateway.classify_cells import CellNaming
from services.gateway.counting import differential_of, tally_of
from services.gateway.detect_cells import detect_cells
from services.gateway.detector import DetectorClient
from services.gateway.explain_cell import CellExplaining
from services.gateway.in_order import answer_in_order
from services.gateway.metrics import GatewayMetrics
from services.gateway.model_versions import ModelVersions
from services.gateway.models import ModelDirectory
from services.gateway.orders import AnalyzeOptions
from services.gateway.pipeline import FieldPipeline
from services.gateway.relay import Send, relay
from services.gateway.settings import GatewaySettings
from services.gateway.smear import DoneField, SmearAnalysis, SmearLimits
from services.runtime.admission import Admission
from services.runtime.caller import enter_at_door
from services.runtime.remote import Deadline, remaining_s
from services.runtime.span_signals import REQUEST
from services.runtime.stages import stage
from services.runtime.streams import beginning_with, ends_with, unless_idle
from services.runtime.tracing import Within
from services.runtime.translate import requested_type

Context = grpc.aio.ServicerContext[Any, Any]


class SmearServicer(gateway_pb2_grpc.SmearServiceServicer):
    """The front door."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        detector: DetectorClient,
        classifier: ClassifierClient,
        models: ModelDirectory,
        versions: ModelVersions,
        pipeline: FieldPipeline,
        naming: CellNaming,
        explaining: CellExplaining,
        threads: Executor,
        fields: Admission,
        streams: Admission,
        metrics: GatewayMetrics,
    ) -> None:
        self._settings = settings
        self._detector = detector
        self._classifier = classifier
        self._models = models
        self._versions = versions
        self._pipeline = pipeline
        self._naming = naming
        self._explaining = explaining
        self._threads = threads
        self._fields = fields
        self._streams = streams
        self._metrics = metrics

    async def AnalyzeField(
        self, request: gateway_pb2.AnalyzeFieldRequest, context: Context
    ) -> gateway_pb2.AnalyzeFieldResponse:
        """Finds the cells of one field, names them, counts them."""
        began = time.perf_counter()
        with stage("read"):
            field = requests.field_order(request.field, max_image_bytes=self._settings.max_image_bytes)
            options = requests.analyze_options(request.options, path="options")
            enter_at_door(context, requests.priority(request.priority))
            deadline = self._deadline(context)
        options = await self._versions.of_call(options, self._versions.rollouts, deadline=deadline)
        async with self._fields.admitted(deadline=deadline):
            analysis = await self._pipeline.analyze(field, options, deadline=deadline)
        with stage("assemble"):
            tally = tally_of(field, analysis)
            differential = differential_of(tally, unidentified_limit=self._settings.unidentified_limit)
            response = gateway_pb2.AnalyzeFieldResponse(
                result=await self._field_result(DoneField(tally, analysis), "", options),
                differential=results.differential_to_proto(differential),
            )
        self._metrics.field_answered(analysis.width_px, analysis.height_px, time.perf_counter() - began)
        return response

    async def AnalyzeSmear(
        self, request_iterator: AsyncIterator[gateway_pb2.AnalyzeSmearRequest], context: Context
    ) -> AsyncIterator[gateway_pb2.AnalyzeSmearResponse]:
        """Results as fields finish, then the smear's."""
        messages = unless_idle(request_iterator, self._settings.stream_idle_s)
        opening = await anext(messages, None)
        if opening is None:
            raise FailedPrecondition("the stream ended before it opened a smear", reason="SMEAR_NOT_OPEN")
        order = requests.smear_order(opening)
        enter_at_door(context, order.priority)
        max_image_bytes = self._settings.max_image_bytes
        fields = (
            requests.smear_field(message, max_image_bytes=max_image_bytes) async for message in messages
        )
        deadline = self._stream_deadline(context)
        order = await self._versions.of_smear(order, deadline=deadline)
        smear = SmearAnalysis(
            order,
            self._pipeline,
            self._fields,
            self._smear_limits(),
            deadline=deadline,
            metrics=self._metrics,
        )

        async def produce(send: Send[gateway_pb2.AnalyzeSmearResponse]) -> None:
            async def send_field(done: DoneField) -> None:
                with stage("assemble"):
                    result = await self._field_result(done, order.smear_id, order.options)
                await send(gateway_pb2.AnalyzeSmearResponse(field_result=result))

            async with ends_with(deadline):
                report = await smear.run(fields, send_field)
                await send(gateway_pb2.AnalyzeSmearResponse(smear_result=results.smear_result(report, order)))

        async with self._streams.admitted():
            async for response in relay(produce, context):
                yield response

    async def DetectCells(
        self, request: gateway_pb2.DetectCellsRequest, context: Context
    ) -> gateway_pb2.DetectCellsResponse:
        """Finds the cells of one field and names none."""
        with stage("read"):
            field = requests.field_order(request.field, max_image_bytes=self._settings.max_image_bytes)
            options = requests.detection_options(request)
            enter_at_door(context, requests.priority(request.priority))
            deadline = self._deadline(context)
        async with self._fields.admitted(deadline=deadline):
            found = await detect_cells(field, options, self._detector, deadline=deadline)
        return gateway_pb2.DetectCellsResponse(
            field_id=field.field_id,
            width_px=found.info.width_px,
            height_px=found.info.height_px,
            detections=found.detections,
            crops=found.crops,
            provenance=found.provenance,
        )

    async def ClassifyCells(
        self, request_iterator: AsyncIterator[gateway_pb2.ClassifyCellsRequest], context: Context
    ) -> AsyncIterator[gateway_pb2.ClassifyCellsResponse]:
        """Names cells that the caller has located, several requests at a time, in their order."""

        messages = unless_idle(request_iterator, self._settings.stream_idle_s)
        opening = await anext(messages, None)
        if opening is None:
            return
        enter_at_door(context, requests.priority(opening.priority))
        stream_deadline = self._stream_deadline(context)
        # A stream may be one smear, and is answered by one version.
        rollouts = self._versions.rollouts

        async def answer(request: gateway_pb2.ClassifyCellsRequest) -> gateway_pb2.ClassifyCellsResponse:
            with Within(REQUEST):
                with stage("read"):
                    enter_at_door(context, requests.priority(request.priority))
                    cells = requests.located_cells(request, max_image_bytes=self._settings.max_image_bytes)
                    model = requests.model_name(request.model)
                    site_profile = requests.site_profile_name(request.site_profile)
                by = await self._versions.assigned(model, rollouts, deadline=stream_deadline)
                async with self._fields.admitted(deadline=stream_deadline, patient=True):
                    named = await self._naming.name(
                        cells,
                        model=by.model,
                        shadow_model=by.shadow,
                        site_profile=site_profile,
                        deadline=self._deadline(context),
                    )
                with stage("assemble"):
                    return results.classify_cells_response([cell.cell_id for cell in request.cells], named)

        async def produce(send: Send[gateway_pb2.ClassifyCellsResponse]) -> None:
            at_once = self._settings.cell_requests_in_flight
            async with ends_with(stream_deadline):
                await answer_in_order(beginning_with(opening, messages), answer, send, at_once=at_once)

        async with self._streams.admitted():
            async for response in relay(produce, context):
                yield response

    async def ExplainCell(
        self, request: gateway_pb2.ExplainCellRequest, context: Context
    ) -> gateway_pb2.ExplainCellResponse:
        """Names one cell and says what in its crop speaks for a type."""
        with stage("read"):
            cell = requests.cell_to_explain(request, max_image_bytes=self._settings.max_image_bytes)
            model = requests.model_name(request.model)
            cell_type = requested_type(request.type, field="type")
            site_profile = requests.site_profile_name(request.site_profile)
            enter_at_door(context, requests.priority(request.priority))
            deadline = self._deadline(context)
        by = await self._versions.assigned(model, self._versions.rollouts, deadline=deadline)
        async with self._fields.admitted(deadline=deadline):
            return await self._explaining.explain(
                cell, model=by.model, cell_type=cell_type, site_profile=site_profile, deadline=deadline
            )

    async def ListModels(
        self,
        request: gateway_pb2.ListModelsRequest,  # noqa: ARG002 - it has no fields
        context: Context,
    ) -> gateway_pb2.ListModelsResponse:
        """The models that requests can name."""
        models = await self._models.all(timeout_s=self._deadline(context).remaining_s())
        return gateway_pb2.ListModelsResponse(models=self._versions.told(models))

    async def ListSiteProfiles(
        self,
        request: gateway_pb2.ListSiteProfilesRequest,  # noqa: ARG002 - it has no fields
        context: Context,
    ) -> gateway_pb2.ListSiteProfilesResponse:
        """The site profiles that requests can name."""
        profiles = await self._classifier.site_profiles(timeout_s=self._deadline(context).remaining_s())
        return gateway_pb2.ListSiteProfilesResponse(site_profiles=profiles)

    def _deadline(self, context: Context) -> Deadline:
        return Deadline(remaining_s(context, self._settings.default_timeout_s))

    def _stream_deadline(self, context: Context) -> Deadline:
        return Deadline(remaining_s(context, self._settings.stream_timeout_s))

    def _smear_limits(self) -> SmearLimits:
        return SmearLimits(
            fields_in_flight=self._settings.fields_in_flight,
            field_timeout_s=self._settings.field_timeout_s,
            unidentified_limit=self._settings.unidentified_limit,
        )

    async def _field_result(
        self, done: DoneField, smear_id: str, options: AnalyzeOptions
    ) -> gateway_pb2.FieldResult:
        if options.crop_encoding in (CropEncoding.NONE, CropEncoding.RAW_RGB8):
            return results.field_result(done, smear_id, options)
        # Off the event loop, because it encodes the crops that were asked for.
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, results.field_result, done, smear_id, options
        )
