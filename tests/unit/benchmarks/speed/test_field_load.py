"""What Triton is sent of a field, and that it is counted by fields."""

import asyncio
from itertools import cycle, islice

import grpc
import grpc.aio
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from benchmarks.speed import field_load
from benchmarks.speed.work import FieldWork


class Triton(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers at once and remembers what it was asked for."""

    def __init__(self):
        self.asked = []

    async def ModelInfer(self, request, context):
        (given,) = request.inputs
        assert len(request.raw_input_contents[0]) == np.prod(given.shape)
        wanted = tuple(output.name for output in request.outputs)
        self.asked.append((request.model_name, given.name, given.shape[0], wanted))
        await asyncio.sleep(0.001)
        return service_pb2.ModelInferResponse()


def _work(squares: tuple[int, ...], crops: int) -> FieldWork:
    return FieldWork(
        tuple(np.zeros((rows, 8, 8, 3), np.uint8) for rows in squares), np.zeros((crops, 4, 4, 3), np.uint8)
    )


@pytest.fixture
async def triton():
    servicer, server = Triton(), grpc.aio.server()
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield servicer, f"127.0.0.1:{port}"
    await server.stop(None)


async def test_each_field_is_its_squares_and_then_its_crops(triton):
    servicer, address = triton
    act = field_load.triton(address, ["predictions"], ["p", "o"], [_work((2, 1), 3), _work((1,), 0)])
    rate = await asyncio.to_thread(act, 1, 0.5)
    of_two_fields = [
        ("yolov8n", "images", 2, ("predictions",)),
        ("yolov8n", "images", 1, ("predictions",)),
        ("ensemble", "crops", 3, ("p", "o")),
        ("yolov8n", "images", 1, ("predictions",)),
    ]
    assert len(servicer.asked) >= 2 * len(of_two_fields)
    assert servicer.asked == list(islice(cycle(of_two_fields), len(servicer.asked)))
    fields_s = len(servicer.asked) / 2 / 0.5
    assert 0.5 * fields_s < rate < 2 * fields_s


async def test_a_triton_that_does_not_answer_is_no_figure():
    act = field_load.triton("127.0.0.1:1", [], [], [_work((1,), 0)])
    with pytest.raises(grpc.aio.AioRpcError):
        await asyncio.to_thread(act, 1, 0.2)
