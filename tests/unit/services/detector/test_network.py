"""Pieces go to Triton in bounded batches, and what was seen comes back in the field's pixels."""

import asyncio

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hemaserve.cells import Kind
from hemaserve.errors import DeadlineExceeded, Unavailable
from hemaserve.geometry import Box
from services.detector.network import Network
from services.detector.tiling import TilingPolicy, merge, plan
from services.runtime.remote import Deadline
from services.triton.pace import PaceLimits, TritonPace

POLICY = TilingPolicy(640, 0.35, 0.215, 1000)
THRESHOLDS = {Kind.WBC: 0.3, Kind.RBC: 0.4, Kind.PLATELET: 0.5}


def tiles_of(width, height):
    return [piece.tile for piece in plan(width, height, 640, POLICY)]


@pytest.fixture
async def model(catalog):
    return await catalog.get("")


@pytest.fixture
def network(fake_triton, workers):
    return Network(TritonPace(fake_triton, PaceLimits(1000, 8)), workers, batches_in_flight=3)


async def test_pieces_go_in_batches_of_the_models_size_a_few_at_a_time(network, fake_triton, model, draw):
    pieces = tiles_of(2400, 1800)
    assert len(pieces) > 12
    fake_triton.hold = asyncio.Event()
    async with asyncio.TaskGroup() as group, asyncio.timeout(20):
        looking = group.create_task(network.look(draw(2400, 1800), pieces, model, THRESHOLDS, Deadline(30)))
        await fake_triton.three_in_flight.wait()
        fake_triton.hold.set()
    assert len(looking.result()) == len(pieces)
    assert sum(fake_triton.batches) == len(pieces)
    assert max(fake_triton.batches) == model.max_batch_size == 4
    assert fake_triton.most_in_flight == 3


async def test_each_batch_gets_what_is_left_of_the_deadline(network, fake_triton, model, draw):
    await network.look(draw(1600, 900), tiles_of(1600, 900), model, THRESHOLDS, Deadline(20))
    assert all(0 < timeout <= 20 for timeout in fake_triton.timeouts)
    assert fake_triton.timeouts == sorted(fake_triton.timeouts, reverse=True)


async def test_a_deadline_that_has_passed_asks_nothing_of_triton(network, fake_triton, model, draw):
    deadline = Deadline(0)
    with pytest.raises(DeadlineExceeded):
        await network.look(draw(1600, 900), tiles_of(1600, 900), model, THRESHOLDS, deadline)
    assert fake_triton.batches == []


async def test_the_first_failure_is_raised_as_it_is(network, fake_triton, model, draw):
    fake_triton.error = Unavailable("gone")
    with pytest.raises(Unavailable, match="gone"):
        await network.look(draw(1600, 900), tiles_of(1600, 900), model, THRESHOLDS, Deadline(30))


async def test_cancelling_cancels_every_batch_in_flight(network, fake_triton, model, draw):
    fake_triton.hold = asyncio.Event()
    looking = asyncio.create_task(
        network.look(draw(1600, 900), tiles_of(1600, 900), model, THRESHOLDS, Deadline(30))
    )
    async with asyncio.timeout(20):
        await fake_triton.three_in_flight.wait()
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    assert fake_triton.cancelled == 3
    assert fake_triton.in_flight == 0


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    width=st.integers(200, 2000),
    height=st.integers(200, 2000),
    side=st.integers(60, 190),
    at=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    kind=st.sampled_from(list(Kind)),
)
async def test_a_cell_is_found_where_it_was_drawn(network, model, draw, width, height, side, at, kind):
    x0, y0 = round((width - side) * at[0]), round((height - side) * at[1])
    cell = Box(x0, y0, x0 + side, y0 + side)
    image, pieces = draw(width, height, (kind, cell)), plan(width, height, 640, POLICY)
    seen = await network.look(image, [piece.tile for piece in pieces], model, THRESHOLDS, Deadline(60))
    found = merge(pieces, seen, width, height, nms_iou=model.nms_iou)
    assert [model.kinds[k] for k in found.kinds] == [kind]
    # One pixel of the network is up to max(width, height) / 416 of the field's.
    np.testing.assert_allclose(found.boxes[0], (cell.x0, cell.y0, cell.x1, cell.y1), atol=6)
