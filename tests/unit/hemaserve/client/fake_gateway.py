"""A gateway in this process that answers without networks and breaks where it is told to."""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from hemaserve.client.channel import MAX_MESSAGE_BYTES
from hemaserve.v1 import cells_pb2, gateway_pb2, gateway_pb2_grpc

BAD_IMAGE = b"not an image"


def bad_argument() -> status_pb2.Status:
    """The status of a damaged image, as services.runtime builds it."""
    status = status_pb2.Status(
        code=code_pb2.INVALID_ARGUMENT, message="field.image: damaged; allowed: a whole file"
    )
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="IMAGE_DAMAGED", domain="hemaserve"))
    request = error_details_pb2.BadRequest()
    request.field_violations.add(field="field.image", description="damaged")
    status.details.add().Pack(request)
    return status


def busy(delay_s: float) -> status_pb2.Status:
    """The status of a full queue."""
    status = status_pb2.Status(code=code_pb2.RESOURCE_EXHAUSTED, message="the queue is full")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="QUEUE_FULL", domain="hemaserve"))
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(round(1000 * delay_s))
    status.details.add().Pack(retry)
    return status


@dataclass(frozen=True)
class Break:
    """Where a stream breaks: after so many answers and so many more fields that are read but not answered.

    A code of None ends the stream as if all were well, but without the smear's result.
    """

    answered: int
    unanswered: int = 0
    code: grpc.StatusCode | None = grpc.StatusCode.UNAVAILABLE


@dataclass
class Stream:
    """What one stream brought."""

    opening: gateway_pb2.OpenSmear
    fields: list[gateway_pb2.Field] = field(default_factory=list)


class FakeGateway(gateway_pb2_grpc.SmearServiceServicer):
    def __init__(self, breaks: Sequence[Break] = (), *, stop_after: int | None = None) -> None:
        self.breaks = list(breaks)
        self.stop_after = stop_after
        self.streams: list[Stream] = []
        self.failures: list[status_pb2.Status] = []
        self.site_profiles: list[str] = []
        self.explain_requests: list[gateway_pb2.ExplainCellRequest] = []
        self.calls = 0
        self.most_in_flight = 0

    async def AnalyzeField(self, request, context):
        self.calls += 1
        if self.failures:
            await context.abort_with_status(rpc_status.to_status(self.failures.pop(0)))
        result = _field_result(request.field)
        return gateway_pb2.AnalyzeFieldResponse(result=result, differential=gateway_pb2.Differential())

    async def AnalyzeSmear(self, request_iterator, context):
        plan = self.breaks.pop(0) if self.breaks else None
        stream = None
        async for request in request_iterator:
            if stream is None:
                stream = Stream(request.open)
                self.streams.append(stream)
            else:
                stream.fields.append(request.field)
                answer = plan is None or len(stream.fields) <= plan.answered
                if answer:
                    yield gateway_pb2.AnalyzeSmearResponse(field_result=_field_result(request.field))
            if plan is not None and len(stream.fields) >= plan.answered + plan.unanswered:
                break
            if self.stop_after is not None and len(stream.fields) >= self.stop_after:
                break
        if plan is not None:
            if plan.code is not None:
                await context.abort(plan.code, "broken on purpose")
            return
        assert stream is not None
        counted = len(stream.opening.received) + len(stream.fields)
        yield gateway_pb2.AnalyzeSmearResponse(
            smear_result=gateway_pb2.SmearResult(smear_id=stream.opening.smear_id, fields_counted=counted)
        )

    async def ClassifyCells(self, request_iterator, context):
        plan = self.breaks.pop(0) if self.breaks else None
        answered = 0
        async for request in request_iterator:
            self.site_profiles.append(request.site_profile)
            if plan is not None and answered == plan.answered:
                await context.abort(plan.code or grpc.StatusCode.UNAVAILABLE, "broken on purpose")
            answered += 1
            response = gateway_pb2.ClassifyCellsResponse()
            for cell in request.cells:
                answer = response.cells.add(cell_id=cell.cell_id)
                if cell.image == BAD_IMAGE:
                    answer.error.CopyFrom(bad_argument())
                else:
                    answer.classification.CopyFrom(_classification(identified=True))
            yield response

    async def ExplainCell(self, request, context):
        self.explain_requests.append(request)
        if self.failures:
            await context.abort_with_status(rpc_status.to_status(self.failures.pop(0)))
        return gateway_pb2.ExplainCellResponse(
            cell_id=request.cell.cell_id,
            classification=_classification(identified=True),
            explanation=cells_pb2.Explanation(
                type=request.type or cells_pb2.CELL_TYPE_NEUTROPHIL_BAND,
                width=3,
                height=2,
                values=bytes([0, 51, 102, 153, 204, 255]),
                area=cells_pb2.Box(x0_px=-2, y0_px=1, x1_px=8, y1_px=11),
            ),
        )

    async def ListModels(self, request, context):
        return gateway_pb2.ListModelsResponse(
            models=[cells_pb2.Model(name="ensemble", is_default=True, explainable=True)]
        )

    async def ListSiteProfiles(self, request, context):
        profile = cells_pb2.SiteProfile(name="a-lab", sha256="e" * 64, fields=12, white_cells=34)
        profile.created_at.FromSeconds(1_795_251_600)
        return gateway_pb2.ListSiteProfilesResponse(site_profiles=[profile])


class FakeHealth(health_pb2_grpc.HealthServicer):
    def __init__(self) -> None:
        self.status = health_pb2.HealthCheckResponse.SERVING
        self.unknown = False

    async def Check(self, request, context):
        if self.unknown:
            await context.abort(grpc.StatusCode.NOT_FOUND, "")
        return health_pb2.HealthCheckResponse(status=self.status)


@contextlib.asynccontextmanager
async def served(gateway: FakeGateway, health: FakeHealth | None = None) -> AsyncIterator[str]:
    """Serve the fake on a free port; gives its address."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)])
    gateway_pb2_grpc.add_SmearServiceServicer_to_server(gateway, server)
    health_pb2_grpc.add_HealthServicer_to_server(health or FakeHealth(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


def _classification(*, identified: bool) -> cells_pb2.Classification:
    return cells_pb2.Classification(
        identified=identified,
        type=cells_pb2.CELL_TYPE_NEUTROPHIL_BAND,
        primary_type=cells_pb2.CELL_TYPE_NEUTROPHIL,
        probability=0.9,
    )


def _field_result(sent: gateway_pb2.Field) -> gateway_pb2.FieldResult:
    result = gateway_pb2.FieldResult(
        result_id=f"r-{sent.field_id}", field_id=sent.field_id, sequence=sent.sequence
    )
    result.tally.field_id, result.tally.sequence = sent.field_id, sent.sequence
    if sent.image == BAD_IMAGE:
        result.error.CopyFrom(bad_argument())
        result.tally.failed = True
        return result
    result.image_sha256 = hashlib.sha256(sent.image).hexdigest()
    cell = result.cells.add()
    cell.detection.cell_id, cell.detection.kind = "c1", cells_pb2.CELL_KIND_WBC
    cell.classification.CopyFrom(_classification(identified=True))
    return result
