"""A replica that is lost in the middle of a field costs nobody anything: the field is analysed again, and whole."""

import grpc
import pytest

from hemaserve.errors import ResourceExhausted, Unavailable
from hemaserve.v1 import cells_pb2, gateway_pb2

SEGMENTED, MONOCYTE = cells_pb2.CELL_TYPE_NEUTROPHIL_SEGMENTED, cells_pb2.CELL_TYPE_MONOCYTE
CELLS = [SEGMENTED, MONOCYTE, SEGMENTED, SEGMENTED, MONOCYTE]


@pytest.fixture
def break_once(monkeypatch):
    """`break_once(fake, *names)`: the first call that comes to each of these gates breaks there."""

    def arrange(fake, *names):
        left = set(names)
        gate = fake.gate

        async def breaking(name):
            await gate(name)
            if name in left:
                left.discard(name)
                raise Unavailable("lost")

        monkeypatch.setattr(fake, "gate", breaking)

    return arrange


def told_of(results):
    return {
        result.field_id: [(cell.detection.cell_id, cell.classification.type) for cell in result.cells]
        for result in results
    }


# The detector's first message has been read at gate f/0, so that gRPC itself repeats nothing any more.
@pytest.mark.parametrize(("service", "gate"), [("detector", "f/0"), ("detector", "f/1"), ("classifier", "f")])
async def test_a_field_is_analysed_again_when_a_service_breaks_in_the_middle(
    world, break_once, service, gate
):
    request = gateway_pb2.AnalyzeFieldRequest(field=world.field("f", CELLS, chunk=2))
    undisturbed = await world.stub.AnalyzeField(request)
    break_once(getattr(world, service), gate)
    answer = await world.stub.AnalyzeField(request)
    assert answer == undisturbed
    assert len(answer.result.cells) == len(CELLS)


async def test_a_smear_has_each_field_once_when_services_break(world, break_once):
    fields = [world.field(f"f{number}", CELLS, sequence=number, chunk=2) for number in range(1, 9)]
    undisturbed, expected = await world.smear(fields)
    break_once(world.detector, "f2/1", "f5/0")
    break_once(world.classifier, "f3", "f7")
    results, smear = await world.smear(fields)
    assert sorted(result.field_id for result in results) == sorted(field.field_id for field in fields)
    assert told_of(results) == told_of(undisturbed)
    assert smear.differential == expected.differential
    assert not smear.failed_field_ids


async def test_detections_alone_are_made_again_too(world, break_once):
    request = gateway_pb2.DetectCellsRequest(field=world.field("f", CELLS, chunk=2))
    undisturbed = await world.stub.DetectCells(request)
    break_once(world.detector, "f/1")
    assert await world.stub.DetectCells(request) == undisturbed


async def test_a_service_that_stays_away_is_told_to_the_caller(world):
    world.classifier.errors["f"] = Unavailable("gone for good")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.stub.AnalyzeField(gateway_pb2.AnalyzeFieldRequest(field=world.field("f", CELLS)))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert len(world.detector.seen("f")) == 4
    assert not [call for call in world.detector.calls if not call.ended]


async def test_a_full_queue_is_not_asked_again_at_once(world):
    world.detector.errors["f"] = ResourceExhausted("full")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.stub.AnalyzeField(gateway_pb2.AnalyzeFieldRequest(field=world.field("f", CELLS)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(world.detector.seen("f")) == 1
