"""The server that all services share, over real gRPC on loopback, with servicers that misbehave on purpose."""

import asyncio
import socket
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from hemaserve.errors import DeadlineExceeded, InvalidArgument, Unavailable
from hemaserve.v1 import detector_pb2, detector_pb2_grpc
from services.runtime.errors import from_rpc_error
from services.runtime.health import ALIVE
from services.runtime.remote import open_channel, remaining_s
from services.runtime.server import RunningServer, running
from services.runtime.settings import ServiceSettings

NAME = "hemaserve.v1.DetectorService"
LISTED = detector_pb2.ListDetectorsResponse()


class Servicer(detector_pb2_grpc.DetectorServiceServicer):
    """Does what the test tells it to."""

    def __init__(self, act: Callable[[grpc.aio.ServicerContext], Awaitable[None]]) -> None:
        self._act = act

    async def ListDetectors(self, request, context):
        await self._act(context)
        return LISTED

    async def Detect(self, request, context):
        yield detector_pb2.DetectResponse()
        await self._act(context)


class App:
    service_names = (NAME,)

    def __init__(self, act) -> None:
        self.servicer = Servicer(act)
        self.trouble: Exception | None = None
        self.hangs = False
        self.closed = False

    def register(self, server: grpc.aio.Server) -> None:
        detector_pb2_grpc.add_DetectorServiceServicer_to_server(self.servicer, server)

    async def check(self) -> None:
        if self.trouble:
            raise self.trouble
        if self.hangs:
            await asyncio.Event().wait()

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


async def nothing(context) -> None:
    pass


@asynccontextmanager
async def serving(act=nothing, **settings) -> AsyncIterator[tuple[App, RunningServer, grpc.aio.Channel]]:
    app = App(act)
    chosen = ServiceSettings(listen="127.0.0.1:0", health_interval_s=0.05, **settings)
    async with running(app, chosen, name="test") as server, open_channel(server.address) as channel:
        yield app, server, channel


def stub(channel: grpc.aio.Channel) -> detector_pb2_grpc.DetectorServiceStub:
    return detector_pb2_grpc.DetectorServiceStub(channel)


async def wait_for_health(channel: grpc.aio.Channel, status: int, service: str = NAME) -> None:
    request = health_pb2.HealthCheckRequest(service=service)
    async with asyncio.timeout(20):
        async for answer in health_pb2_grpc.HealthStub(channel).Watch(request):
            if answer.status == status:
                return


def metric(server: RunningServer, name: str) -> float:
    with urllib.request.urlopen(f"http://{server.metrics_address}/metrics") as page:
        lines = page.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


async def until_metric(server: RunningServer, name: str, value: float) -> None:
    """A call is counted when it has ended, which its caller may know a moment before."""
    async with asyncio.timeout(20):
        while metric(server, name) != value:  # noqa: ASYNC110 - it is Prometheus' page that changes
            await asyncio.sleep(0.01)


async def refuse(context) -> None:
    raise InvalidArgument("image", "no bytes", "an image file", reason="IMAGE_EMPTY")


async def test_a_domain_error_reaches_the_caller_with_code_and_details():
    async with serving(refuse) as (_, server, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(channel).ListDetectors(detector_pb2.ListDetectorsRequest())
        error = from_rpc_error(caught.value, "detector")
        await until_metric(server, 'hemaserve_rpc_handled_total{code="INVALID_ARGUMENT"', 1)

    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert isinstance(error, InvalidArgument)
    assert (error.field, error.reason) == ("image", "IMAGE_EMPTY")


async def test_a_stream_that_fails_midway_keeps_what_was_sent_and_tells_why():
    async with serving(refuse) as (_, _, channel):
        call = stub(channel).Detect(detector_pb2.DetectRequest())
        assert await call.read() is not grpc.aio.EOF
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()

    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_an_error_in_a_task_group_is_as_clear_as_outside_one():
    async def in_a_group(context) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(refuse(context))

    async with serving(in_a_group) as (_, _, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(channel).ListDetectors(detector_pb2.ListDetectorsRequest())

    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_an_unexpected_error_tells_the_caller_an_incident_and_nothing_else():
    async def fail(context) -> None:
        raise RuntimeError("password=hunter2")

    async with serving(fail) as (_, _, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(channel).ListDetectors(detector_pb2.ListDetectorsRequest())

    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert "incident" in (caught.value.details() or "")
    assert "hunter2" not in repr(caught.value)


async def test_unavailable_says_when_to_try_again():
    async def away(context) -> None:
        raise Unavailable("no model", retry_after_s=3)

    async with serving(away) as (_, _, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(channel).ListDetectors(detector_pb2.ListDetectorsRequest())

    details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
    retry = error_details_pb2.RetryInfo()
    assert any(detail.Unpack(retry) for detail in status_pb2.Status.FromString(details).details)
    assert retry.retry_delay.seconds == 3


async def test_health_follows_the_check_for_the_server_and_each_service():
    async with serving() as (app, server, channel):
        await wait_for_health(channel, health_pb2.HealthCheckResponse.SERVING)
        await wait_for_health(channel, health_pb2.HealthCheckResponse.SERVING, "")
        assert metric(server, "hemaserve_ready") == 1
        app.trouble = Unavailable("Triton is gone")
        await wait_for_health(channel, health_pb2.HealthCheckResponse.NOT_SERVING)
        assert metric(server, "hemaserve_ready") == 0
        app.trouble = RuntimeError("a defect in the check")
        await wait_for_health(channel, health_pb2.HealthCheckResponse.NOT_SERVING, "")
        app.trouble = None
        await wait_for_health(channel, health_pb2.HealthCheckResponse.SERVING)


async def test_a_check_that_hangs_is_no_health():
    async with serving() as (app, _, channel):
        await wait_for_health(channel, health_pb2.HealthCheckResponse.SERVING)
        app.hangs = True
        await wait_for_health(channel, health_pb2.HealthCheckResponse.NOT_SERVING)


async def test_reflection_lists_our_services():
    async with serving() as (_, _, channel):
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        )
        answer = await call.read()

    assert NAME in {service.name for service in answer.list_services_response.service}


async def test_a_port_of_its_own_answers_for_health_without_tls_and_for_nothing_else(free_address):
    async with (
        serving(health_listen=free_address) as (app, _, channel),
        grpc.aio.insecure_channel(free_address) as probes,
    ):
        await wait_for_health(probes, health_pb2.HealthCheckResponse.SERVING)
        app.trouble = Unavailable("the networks are away")
        await wait_for_health(probes, health_pb2.HealthCheckResponse.NOT_SERVING, "")
        await wait_for_health(channel, health_pb2.HealthCheckResponse.NOT_SERVING, "")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(probes).ListDetectors(detector_pb2.ListDetectorsRequest())
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_a_service_whose_check_fails_is_alive_all_the_same():
    async with serving() as (app, _, channel):
        app.trouble = Unavailable("the networks are away")
        await wait_for_health(channel, health_pb2.HealthCheckResponse.NOT_SERVING)
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=ALIVE))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_draining_lets_a_call_in_progress_finish():
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow(context) -> None:
        begun.set()
        await may_end.wait()

    app = App(slow)
    settings = ServiceSettings(listen="127.0.0.1:0", drain_grace_s=20)
    stop = asyncio.Event()
    address: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def serve() -> None:
        async with running(app, settings, name="test") as server:
            address.set_result(server.address)
            await stop.wait()

    task = asyncio.create_task(serve())
    async with open_channel(await address) as channel:
        await wait_for_health(channel, health_pb2.HealthCheckResponse.SERVING)
        call = stub(channel).ListDetectors(detector_pb2.ListDetectorsRequest())
        await begun.wait()
        stop.set()
        await wait_for_health_gone(channel)
        may_end.set()
        assert await call == LISTED
    await task
    assert app.closed


async def wait_for_health_gone(channel: grpc.aio.Channel) -> None:
    """Wait until the server says NOT_SERVING or takes no new calls."""
    try:
        await wait_for_health(channel, health_pb2.HealthCheckResponse.NOT_SERVING)
    except grpc.aio.AioRpcError as error:
        assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)  # noqa: PT017


@pytest.mark.parametrize("method", ["ListDetectors", "Detect"])
async def test_a_call_that_outlasts_the_grace_is_told_to_go_elsewhere(method):
    begun = asyncio.Event()

    async def forever(context) -> None:
        begun.set()
        await asyncio.Event().wait()

    request = {"ListDetectors": detector_pb2.ListDetectorsRequest, "Detect": detector_pb2.DetectRequest}

    async def answer(channel: grpc.aio.Channel) -> None:
        call = getattr(stub(channel), method)(request[method]())
        await (call.read() if method == "Detect" else call)
        await call.read()

    settings = ServiceSettings(listen="127.0.0.1:0", drain_grace_s=0)
    # Without gRPC's repetitions, which would hide it.
    async with AsyncExitStack() as opened:
        server = await opened.enter_async_context(running(App(forever), settings, name="test"))
        channel = open_channel(server.address, repeatable=())
        asked = asyncio.create_task(answer(channel))
        await begun.wait()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asked
    await channel.close()
    told = from_rpc_error(caught.value, "detector")
    assert isinstance(told, Unavailable)
    assert (told.reason, told.retry_after_s) == ("SHUTTING_DOWN", 0.1)


async def test_an_old_connection_takes_no_new_calls_and_lets_the_running_one_finish():
    begun, may_end = asyncio.Event(), asyncio.Event()
    peers: list[str] = []

    async def act(context) -> None:
        peers.append(context.peer())
        if len(peers) == 1:
            begun.set()
            await may_end.wait()

    async with serving(act, connection_age_s=1, connection_age_grace_s=60) as (_, _, channel):
        first = asyncio.create_task(collect(stub(channel).Detect(detector_pb2.DetectRequest())))
        await begun.wait()
        async with asyncio.timeout(20):
            while len(set(peers)) < 2:
                await stub(channel).ListDetectors(detector_pb2.ListDetectorsRequest())
        may_end.set()
        assert len(await first) == 1


async def collect(call) -> list[detector_pb2.DetectResponse]:
    return [response async for response in call]


async def test_a_handler_knows_its_callers_deadline_and_has_a_default_without_one():
    seen: list[float] = []

    async def look(context) -> None:
        seen.append(remaining_s(context, default=7.0))

    async with serving(look) as (_, _, channel):
        await stub(channel).ListDetectors(detector_pb2.ListDetectorsRequest())
        await stub(channel).ListDetectors(detector_pb2.ListDetectorsRequest(), timeout=100)

    assert seen[0] == 7.0
    assert 90 < seen[1] <= 101  # gRPC rounds up to whole units


async def test_a_cancelled_call_cancels_its_handler():
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(context) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(wait) as (_, server, channel):
        call = stub(channel).ListDetectors(detector_pb2.ListDetectorsRequest())
        await begun.wait()
        call.cancel()
        async with asyncio.timeout(20):
            await cancelled.wait()


async def test_calls_beyond_the_bound_are_refused_at_once():
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow(context) -> None:
        begun.set()
        await may_end.wait()

    async with serving(slow, max_concurrent_calls=1) as (_, _, channel):
        first = stub(channel).ListDetectors(detector_pb2.ListDetectorsRequest())
        await begun.wait()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub(channel).ListDetectors(detector_pb2.ListDetectorsRequest())
        may_end.set()
        await first

    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_taken_port_is_a_clear_error():
    async with serving() as (_, server, _):
        with pytest.raises(OSError, match="port taken"):
            async with running(App(nothing), ServiceSettings(listen=server.address), name="second"):
                pass


def test_a_remote_deadline_is_ours():
    error = grpc.aio.AioRpcError(
        grpc.StatusCode.DEADLINE_EXCEEDED, grpc.aio.Metadata(), grpc.aio.Metadata(), details="x"
    )
    assert isinstance(from_rpc_error(error, "detector"), DeadlineExceeded)
