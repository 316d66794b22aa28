"""ClassifyCells over real gRPC: cells that the caller has located."""

import grpc
import numpy as np
import pytest

from hemaserve import synthetic
from hemaserve.geometry import Box
from hemaserve.imaging import cut_crop, decode
from hemaserve.v1 import cells_pb2, gateway_pb2

SEGMENTED = cells_pb2.CELL_TYPE_NEUTROPHIL_SEGMENTED
LYMPHOCYTE = cells_pb2.CELL_TYPE_LYMPHOCYTE


def flat(number: int, size: tuple[int, int] = (40, 30)) -> bytes:
    """A PNG of one grey: the fake classifier takes it for the number of the cell's type."""
    return synthetic.encode_png(np.full((size[1], size[0], 3), number, np.uint8))


def located(image: bytes, cell_id: str = "", box: cells_pb2.Box | None = None) -> gateway_pb2.LocatedCell:
    return gateway_pb2.LocatedCell(cell_id=cell_id, image=image, box=box)


async def ask(world, *requests) -> list[gateway_pb2.ClassifyCellsResponse]:
    return [response async for response in world.stub.ClassifyCells(iter(requests), timeout=20)]


async def refused(world, *requests) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(world, *requests)
    return caught.value.code(), caught.value.details()


async def test_each_cell_is_named_in_order_and_keeps_its_id(world):
    cells = [located(flat(SEGMENTED), "same"), located(flat(LYMPHOCYTE), "same"), located(flat(0))]
    (response,) = await ask(world, gateway_pb2.ClassifyCellsRequest(cells=cells))
    assert [cell.cell_id for cell in response.cells] == ["same", "same", ""]
    assert [cell.classification.type for cell in response.cells[:2]] == [SEGMENTED, LYMPHOCYTE]
    assert not response.cells[2].classification.identified
    assert response.provenance.classifier.name == "vit"
    assert not response.provenance.HasField("detector")


async def test_a_bad_cell_has_its_own_error_and_harms_no_other(world):
    cells = [
        located(flat(SEGMENTED), "good"),
        located(b"text", "text"),
        located(b"", "empty"),
        located(flat(SEGMENTED), "box", cells_pb2.Box(x0_px=5, y0_px=5, x1_px=5, y1_px=9)),
        located(flat(SEGMENTED), "outside", cells_pb2.Box(x0_px=50, y0_px=5, x1_px=60, y1_px=9)),
        located(flat(SEGMENTED), "nan", cells_pb2.Box(x0_px=float("nan"), y0_px=5, x1_px=60, y1_px=9)),
    ]
    (response,) = await ask(world, gateway_pb2.ClassifyCellsRequest(cells=cells))
    assert response.cells[0].classification.type == SEGMENTED
    errors = {cell.cell_id: cell.error for cell in response.cells[1:]}
    assert {error.code for error in errors.values()} == {grpc.StatusCode.INVALID_ARGUMENT.value[0]}
    assert errors["text"].message.startswith("cells[1].image: not an image")
    assert errors["empty"].message.startswith("cells[2].image: no bytes")
    assert errors["outside"].message.startswith("cells[4].box: centre at 55, 7 px")
    assert errors["nan"].message.startswith("cells[5].box.x0_px:")


async def test_a_crop_is_cut_by_the_function_that_training_uses(world):
    field = synthetic.generate_field(3)
    image, box = synthetic.encode_png(field.image), field.cells[0].box
    message = cells_pb2.Box(x0_px=box.x0, y0_px=box.y0, x1_px=box.x1, y1_px=box.y1)
    await ask(world, gateway_pb2.ClassifyCellsRequest(cells=[located(image, box=message)]))
    sent = world.classifier.calls[0].request.cells[0].crop
    as_sent = Box(message.x0_px, message.y0_px, message.x1_px, message.y1_px)
    assert sent.data == cut_crop(decode(image), as_sent, size=16, margin=0.25).tobytes()


@pytest.mark.parametrize("size", [(60, 30), (30, 60), (31, 31)])
async def test_without_a_box_the_crop_is_the_square_on_the_longer_side(world, size):
    width, height = size
    # Smooth, because the outermost pixels may or may not be repeated where a side falls on an edge.
    rows, columns = np.mgrid[:height, :width]
    slope = np.stack([3 * rows, 3 * columns, rows + columns], axis=-1).astype(np.uint8)
    request = gateway_pb2.ClassifyCellsRequest(cells=[located(synthetic.encode_png(slope))])
    await ask(world, request)
    sent = world.classifier.calls[0].request.cells[0].crop
    half = max(size) / 2
    square = Box(width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half)
    expected = cut_crop(slope, square, size=16, margin=0.0)
    got = np.frombuffer(sent.data, np.uint8).reshape(16, 16, 3)
    assert np.abs(got.astype(int) - expected).max() <= 2


async def test_requests_are_answered_in_order_several_at_a_time(world, wait_until):
    call = world.stub.ClassifyCells(timeout=20)
    gate = world.classifier.hold("")
    for number in (SEGMENTED, LYMPHOCYTE, SEGMENTED):
        await call.write(gateway_pb2.ClassifyCellsRequest(cells=[located(flat(number))]))
    await wait_until(lambda: sum(bool(seen.cells) for seen in world.classifier.calls) == 3)
    gate.set()
    await call.done_writing()
    types = [(await call.read()).cells[0].classification.type for _ in range(3)]
    assert types == [SEGMENTED, LYMPHOCYTE, SEGMENTED]
    assert await call.read() is grpc.aio.EOF


async def test_no_more_requests_are_at_work_than_the_bound_allows(make_world, wait_until):
    world = await make_world(cell_requests_in_flight=2)
    gate = world.classifier.hold("")
    requests = [gateway_pb2.ClassifyCellsRequest(cells=[located(flat(SEGMENTED))]) for _ in range(9)]
    call = world.stub.ClassifyCells(iter(requests), timeout=20)
    await wait_until(lambda: len(world.classifier.calls) == 2)
    gate.set()
    assert len([response async for response in call]) == 9
    assert world.classifier.most_at_once == 2


async def test_a_request_may_choose_its_model(world):
    cells = [located(flat(SEGMENTED))]
    responses = await ask(
        world,
        gateway_pb2.ClassifyCellsRequest(cells=cells, model="xception"),
        gateway_pb2.ClassifyCellsRequest(cells=cells),
        gateway_pb2.ClassifyCellsRequest(),
    )
    assert [response.provenance.classifier.name for response in responses] == ["xception", "vit", ""]


async def test_what_concerns_the_whole_request_ends_the_stream(world):
    cell = located(flat(SEGMENTED))
    code, message = await refused(world, gateway_pb2.ClassifyCellsRequest(cells=[cell] * 257))
    assert (code, message) == (grpc.StatusCode.INVALID_ARGUMENT, "cells: 257 entries; allowed: at most 256")
    long_id = located(flat(SEGMENTED), "x" * 129)
    code, message = await refused(world, gateway_pb2.ClassifyCellsRequest(cells=[cell, long_id]))
    assert (code, message.partition(":")[0]) == (grpc.StatusCode.INVALID_ARGUMENT, "cells[1].cell_id")
    code, _ = await refused(world, gateway_pb2.ClassifyCellsRequest(cells=[cell], priority=9))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    code, _ = await refused(world, gateway_pb2.ClassifyCellsRequest(cells=[cell], model="resnet"))
    assert code is grpc.StatusCode.NOT_FOUND


async def test_a_caller_that_goes_away_cancels_the_naming(world, wait_until):
    world.classifier.hold("")
    call = world.stub.ClassifyCells(timeout=20)
    await call.write(gateway_pb2.ClassifyCellsRequest(cells=[located(flat(SEGMENTED))]))
    await wait_until(lambda: bool(world.classifier.calls))
    call.cancel()
    await wait_until(lambda: not world.classifier.at_work)
    assert world.classifier.calls[0].ended == "stopped"
