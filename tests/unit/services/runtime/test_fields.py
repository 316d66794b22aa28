"""Fields get into memory a few at a time."""

import asyncio
import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from hemaserve.errors import DeadlineExceeded, InvalidArgument, ResourceExhausted
from hemaserve.image_files.facts import ImageLimits
from services.runtime.admission import Admission, Capacity
from services.runtime.decoders import Decoders
from services.runtime.fields import FieldGate
from services.runtime.remote import Deadline
from services.runtime.workers import Workers


@pytest.fixture
async def gate():
    workers, decoders = Workers(2), Decoders(1)
    yield FieldGate(decoders, workers, ImageLimits(max_side_px=4096), Admission(Capacity("fields", 2, 1)))
    workers.close()
    await decoders.close()


def png(width=32, height=24):
    file = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), 200, np.uint8)).save(file, "PNG")
    return file.getvalue()


async def test_a_field_comes_with_its_size_and_digest(gate):
    async with gate.opened(png(), Deadline(10)) as field:
        assert (field.width, field.height) == (32, 24)
        assert field.sha256 == hashlib.sha256(png()).hexdigest()


async def test_beyond_those_inside_and_those_waiting_a_field_is_refused_at_once(gate):
    async with gate.opened(png(), Deadline(10)), gate.opened(png(), Deadline(10)):
        entered = asyncio.Event()

        async def wait_and_enter():
            async with gate.opened(png(), Deadline(10)):
                entered.set()

        waiting = asyncio.create_task(wait_and_enter())
        await asyncio.sleep(0)
        with pytest.raises(ResourceExhausted) as refused:
            async with gate.opened(png(), Deadline(10)):
                pass
        assert refused.value.retry_after_s > 0
        assert not entered.is_set()
    await waiting
    assert entered.is_set()


async def test_a_field_whose_turn_does_not_come_in_time_is_late(gate):
    async with gate.opened(png(), Deadline(10)), gate.opened(png(), Deadline(10)):
        with pytest.raises(DeadlineExceeded):
            async with gate.opened(png(), Deadline(0.02)):
                pass


async def test_fields_that_were_refused_or_cancelled_or_late_leave_their_place_to_others(gate):
    for _ in range(5):
        with pytest.raises(InvalidArgument):
            async with gate.opened(b"no image", Deadline(10)):
                pass
    async with gate.opened(png(), Deadline(10)), gate.opened(png(), Deadline(10)):
        for _ in range(3):
            waiting = asyncio.create_task(gate.opened(png(), Deadline(10)).__aenter__())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            with pytest.raises(DeadlineExceeded):
                async with gate.opened(png(), Deadline(0.001)):
                    pass
    async with gate.opened(png(), Deadline(10)), gate.opened(png(), Deadline(10)):
        pass
