"""What is no message is refused as such; what is refused leaves nothing behind."""

import gc

import grpc
import grpc.aio
import psutil
import pytest

from hemaserve.errors import InvalidArgument
from hemaserve.v1 import detector_pb2, detector_pb2_grpc
from services.runtime.server import running
from services.runtime.settings import ServiceSettings

LARGE = 16 * 2**20
CALLS = 40
SETTINGS = ServiceSettings(listen="127.0.0.1:0", metrics_listen="127.0.0.1:0", drain_grace_s=0)
DETECT = "/hemaserve.v1.DetectorService/Detect"


class Refusing(detector_pb2_grpc.DetectorServiceServicer):
    """Refuses everything, with an error that its own frame holds, as some do."""

    service_names = ("hemaserve.v1.DetectorService",)

    def register(self, server):
        detector_pb2_grpc.add_DetectorServiceServicer_to_server(self, server)

    async def check(self):
        pass

    async def close(self):
        pass

    async def Detect(self, request, context):
        error = InvalidArgument("image", f"{len(request.image)} bytes", "none")
        raise error
        yield

    async def ListDetectors(self, request, context):
        raise InvalidArgument("anything", "something", "nothing")


@pytest.fixture
async def channel():
    options = [("grpc.max_send_message_length", 2 * LARGE)]
    async with (
        running(Refusing(), SETTINGS, name="refusing") as server,
        grpc.aio.insecure_channel(server.address, options=options) as channel,
    ):
        yield channel


async def refused(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for _ in call:
            pass
    return caught.value


@pytest.mark.parametrize("data", [b"\xff" * 11, b"\x0a\xff\x01", b"\x12\x02\xc3\x28"])
async def test_bytes_that_are_no_message_are_the_callers_mistake(channel, data):
    error = await refused(channel.unary_stream(DETECT)(data))
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details().startswith("request: ")


async def test_unknown_fields_are_those_of_a_newer_client(channel):
    error = await refused(channel.unary_stream(DETECT)(b"\xc2\x3e\x03new"))
    assert error.details().startswith("image: 0 bytes")


async def test_large_requests_that_are_refused_are_let_go_of_at_once(channel):
    data = detector_pb2.DetectRequest(image=bytes(LARGE)).SerializeToString()
    call = channel.unary_stream(DETECT)
    await refused(call(data))
    gc.collect()
    before = psutil.Process().memory_info().rss
    gc.disable()
    try:
        for _ in range(CALLS):
            await refused(call(data))
        grown = psutil.Process().memory_info().rss - before
    finally:
        gc.enable()
    assert grown < CALLS * LARGE / 4
