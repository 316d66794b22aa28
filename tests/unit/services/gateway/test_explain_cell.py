"""ExplainCell over real gRPC: what speaks for a type in the crop of a cell that the caller has located."""

import grpc
import numpy as np
import pytest

from hemaserve import synthetic
from hemaserve.errors import FailedPrecondition, InvalidArgument
from hemaserve.geometry import Box
from hemaserve.imaging import cut_crop, decode
from hemaserve.v1 import cells_pb2, gateway_pb2

SEGMENTED = cells_pb2.CELL_TYPE_NEUTROPHIL_SEGMENTED
MARGIN = 0.25


def flat(number, size=(40, 30)):
    """A PNG of one grey: the fake classifier takes it for the number of the cell's type."""
    return synthetic.encode_png(np.full((size[1], size[0], 3), number, np.uint8))


def request(image=None, box=None, **changes):
    cell = gateway_pb2.LocatedCell(cell_id="mine", image=flat(SEGMENTED) if image is None else image, box=box)
    return gateway_pb2.ExplainCellRequest(**{"cell": cell, **changes})


async def refused(world, asked):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.stub.ExplainCell(asked, timeout=20)
    return caught.value.code(), caught.value.details()


async def test_a_cell_is_named_and_explained_and_keeps_its_id(world):
    response = await world.stub.ExplainCell(request(), timeout=20)
    assert response.cell_id == "mine"
    assert response.classification.type == response.explanation.type == SEGMENTED
    assert (response.explanation.width, response.explanation.height) == (2, 1)
    assert response.explanation.values == b"\x00\xff"
    assert response.provenance.classifier.name == "vit"
    assert response.provenance.software_version


async def test_what_is_asked_for_is_passed_on_with_deadline_and_priority(world):
    asked = request(
        model="xception",
        type=cells_pb2.CELL_TYPE_MONOCYTE,
        site_profile="a-lab",
        priority=gateway_pb2.PRIORITY_STAT,
    )
    response = await world.stub.ExplainCell(asked, timeout=20)
    (seen,) = world.classifier.seen("explain")
    assert (seen.request.model, seen.request.site_profile) == ("xception", "a-lab")
    assert seen.request.type == response.explanation.type == cells_pb2.CELL_TYPE_MONOCYTE
    assert seen.metadata["x-hemaserve-priority"] == "stat"
    assert 10 < seen.time_left_s < 21
    assert response.provenance.site_profile.name == "a-lab"


@pytest.mark.parametrize(
    ("box", "area"),
    [
        ((100, 80, 140, 100), (90, 60, 150, 120)),
        ((0, 0, 20, 20), (-5, -5, 25, 25)),
        (None, (0, -80, 640, 560)),
    ],
)
async def test_the_area_is_the_square_that_the_classifier_saw(world, box, area):
    field = synthetic.generate_field(3)
    sides = ("x0_px", "y0_px", "x1_px", "y1_px")
    message = None if box is None else cells_pb2.Box(**dict(zip(sides, box, strict=True)))
    image = synthetic.encode_png(field.image)
    response = await world.stub.ExplainCell(request(image, message), timeout=20)
    found = response.explanation.area
    assert [found.x0_px, found.y0_px, found.x1_px, found.y1_px] == pytest.approx(area, abs=1e-3)
    (seen,) = world.classifier.seen("explain")
    crop = np.frombuffer(seen.request.cell.crop.data, np.uint8).reshape(16, 16, 3)
    again = cut_crop(decode(image), Box(*area), size=16, margin=0)
    assert np.abs(crop.astype(int) - again).max() <= 2


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({"image": b""}, "cell.image: no bytes"),
        ({"image": b"text"}, "cell.image: not an image"),
        ({"box": cells_pb2.Box(x0_px=5, y0_px=5, x1_px=5, y1_px=9)}, "cell.box:"),
        ({"box": cells_pb2.Box(x0_px=50, y0_px=5, x1_px=60, y1_px=9)}, "cell.box: centre at 55, 7 px"),
        ({"cell": gateway_pb2.LocatedCell(cell_id="x" * 129)}, "cell.cell_id:"),
        ({"type": 99}, "type: 99; allowed: neutrophil"),
        ({"priority": 9}, "priority: 9"),
        ({"model": "x" * 129}, "model:"),
        ({"site_profile": "x" * 65}, "site_profile:"),
    ],
)
async def test_what_is_wrong_with_a_request_is_told_by_its_field(world, changes, start):
    code, message = await refused(world, request(**changes))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert message.startswith(start)


async def test_an_unknown_model_is_not_found(world):
    code, message = await refused(world, request(model="resnet"))
    assert code is grpc.StatusCode.NOT_FOUND
    assert "resnet" in message


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (
            FailedPrecondition("model: it cannot be explained", reason="MODEL_NOT_EXPLAINABLE"),
            grpc.StatusCode.FAILED_PRECONDITION,
            "model: it cannot be explained",
        ),
        (
            InvalidArgument("type", "blast", "monocyte"),
            grpc.StatusCode.INVALID_ARGUMENT,
            "type: blast; allowed: monocyte",
        ),
    ],
)
async def test_what_the_classifier_refuses_is_told_as_it_said_it(world, error, code, message):
    world.classifier.errors["explain"] = error
    assert await refused(world, request()) == (code, message)


async def test_a_crop_of_ours_that_the_classifier_refuses_is_no_mistake_of_the_callers(world):
    world.classifier.errors["explain"] = InvalidArgument("cell.crop.data", "odd", "even")
    code, message = await refused(world, request())
    assert code is grpc.StatusCode.INTERNAL
    assert "odd" not in message


async def test_a_caller_that_goes_away_cancels_the_explaining(world, wait_until):
    world.classifier.hold("explain")
    call = world.stub.ExplainCell(request(), timeout=20)
    await wait_until(lambda: bool(world.classifier.seen("explain")))
    call.cancel()
    await wait_until(lambda: not world.classifier.at_work)
    assert world.classifier.seen("explain")[0].ended == "stopped"
