"""A file may break its decoder and never a service, nor the file beside it."""

import asyncio
import gc
import os
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest

from benchmarks.nasty.bytes_of import encoded, picture
from benchmarks.nasty.files import Verdict, nasty_files, sound_files
from hemaserve.errors import InvalidArgument
from hemaserve.image_files.facts import ImageLimits
from hemaserve.imaging import decode
from services.runtime import decoders as module
from services.runtime.decoders import Decoders, ImageFile

LIMITS = ImageLimits()
SOUND = encoded(picture(200, 160), "JPEG")
LARGE = encoded(picture(2000, 1500), "JPEG")
BROKEN = Path(__file__).with_name("broken_decoder.py")
ROOT = str(Path(__file__).parents[4])
PATIENCE_S = 30


@pytest.fixture
async def decoders():
    made = Decoders(2)
    yield made
    await made.close()


@pytest.fixture
async def breakable(monkeypatch):
    """Decoders that break when a file says so."""
    paths = module._paths()
    monkeypatch.setattr(module, "_paths", lambda: [*paths, ROOT])
    monkeypatch.setattr(module, "_WALL_FACTOR", 2)
    made = Decoders(2, cpu_s=0.5, program=BROKEN)
    yield made
    await made.close()


@pytest.fixture
def children():
    """The decoder processes that this test has started."""

    def now() -> list[psutil.Process]:
        return [child for child in psutil.Process().children() if "decoder" in " ".join(child.cmdline())]

    before = {child.pid for child in now()}
    return lambda: [child for child in now() if child.pid not in before]


async def outcomes(decoders, files):
    return [outcome async for part in decoders.decode_each(files, limits=LIMITS) for outcome in part]


@pytest.mark.parametrize("name", sound_files())
async def test_pixels_are_those_that_decoding_here_gives(decoders, name):
    data = sound_files()[name]
    np.testing.assert_array_equal(await decoders.decode(data, limits=LIMITS), decode(data))


async def test_nobody_can_write_to_the_pixels(decoders):
    pixels = await decoders.decode(SOUND, limits=LIMITS)
    with pytest.raises(ValueError, match="read-only"):
        pixels[0, 0] = 0


async def test_each_nasty_file_gets_its_outcome_by_the_same_process(decoders, children):
    corpus = [file for file in nasty_files() if file.verdict is not Verdict.EITHER]
    came = await outcomes(
        decoders, [ImageFile(file.data, f"cells[{n}].image") for n, file in enumerate(corpus)]
    )
    assert len(came) == len(corpus)
    for number, (file, outcome) in enumerate(zip(corpus, came, strict=True)):
        refused = isinstance(outcome, InvalidArgument)
        assert refused == (file.verdict is Verdict.REFUSED), file.name
        assert not refused or outcome.field == f"cells[{number}].image"
    assert len(children()) == 1


async def test_what_is_too_much_for_one_trip_comes_in_several(decoders):
    parts = [len(part) async for part in decoders.decode_each([ImageFile(LARGE, "image")] * 5, limits=LIMITS)]
    assert sum(parts) == 5
    assert len(parts) > 1


async def test_pixels_that_nobody_holds_leave_no_memory_and_no_descriptor(decoders):
    await decoders.decode(SOUND, limits=LIMITS)
    gc.collect()
    before = psutil.Process().num_fds()
    for _ in range(30):
        await decoders.decode(SOUND, limits=LIMITS)
    gc.collect()
    assert psutil.Process().num_fds() <= before


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("crash", "IMAGE_DAMAGED"),
        ("raise", "IMAGE_DAMAGED"),
        ("killed", "IMAGE_TOO_COSTLY"),
        ("spin", "IMAGE_TOO_COSTLY"),
        ("sleep", "IMAGE_TOO_COSTLY"),
        ("hungry", "IMAGE_TOO_COSTLY"),
    ],
)
async def test_a_file_that_breaks_its_decoder_fails_alone(breakable, word, reason):
    beside = [asyncio.create_task(breakable.decode(SOUND, limits=LIMITS)) for _ in range(10)]
    broken = asyncio.create_task(
        breakable.decode(
            (LARGE if word == "hungry" else SOUND) + word.encode(), limits=LIMITS, field="cells[1].image"
        )
    )
    beside += [asyncio.create_task(breakable.decode(SOUND, limits=LIMITS)) for _ in range(10)]
    with pytest.raises(InvalidArgument) as caught:
        await asyncio.wait_for(broken, PATIENCE_S)
    assert (caught.value.field, caught.value.reason) == ("cells[1].image", reason)
    expected = decode(SOUND)
    for pixels in await asyncio.wait_for(asyncio.gather(*beside), PATIENCE_S):
        np.testing.assert_array_equal(pixels, expected)


async def test_of_files_on_one_trip_only_the_one_that_breaks_it_fails(breakable):
    files = [ImageFile(SOUND + (b"crash" if n in {2, 5} else b""), f"cells[{n}]") for n in range(7)]
    came = await asyncio.wait_for(outcomes(breakable, files), PATIENCE_S)
    assert [outcome.field for outcome in came if isinstance(outcome, InvalidArgument)] == [
        "cells[2]",
        "cells[5]",
    ]


async def test_a_file_is_not_to_blame_for_what_the_system_did_to_its_decoder(breakable, tmp_path):
    data = SOUND + f"flag:{tmp_path / 'killed'}once".encode()
    np.testing.assert_array_equal(await breakable.decode(data, limits=LIMITS), decode(SOUND))


async def test_a_decoder_that_died_while_idle_is_replaced(decoders, children):
    await decoders.decode(SOUND, limits=LIMITS)
    (child,) = children()
    os.kill(child.pid, signal.SIGKILL)
    child.wait(PATIENCE_S)
    assert (await decoders.decode(SOUND, limits=LIMITS)).shape == (160, 200, 3)


async def test_a_caller_that_goes_away_leaves_its_decoder_to_others(decoders, children):
    await decoders.decode(SOUND, limits=LIMITS)
    (child,) = children()
    for _ in range(5):
        leaving = asyncio.create_task(decoders.decode(SOUND, limits=LIMITS))
        await asyncio.sleep(0)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
    await asyncio.gather(*(decoders.decode(SOUND, limits=LIMITS) for _ in range(4)))
    assert child.pid in {each.pid for each in children()}
    assert len(children()) <= 2


async def test_decoders_are_lean_and_end_with_their_owner(children):
    made = Decoders(1)
    await made.decode(SOUND, limits=LIMITS)
    (child,) = children()
    loaded = {Path(each.path).name.partition(".")[0] for each in child.memory_maps()}
    assert not [name for name in loaded if "numpy" in name or "grpc" in name or "cygrpc" in name]
    await made.close()
    assert not child.is_running()


async def test_one_that_cannot_be_started_is_our_defect_and_no_files(tmp_path):
    program = tmp_path / "nothing.py"
    program.write_text("raise SystemExit(1)")
    made = Decoders(1, program=program)
    with pytest.raises(RuntimeError):
        await made.decode(SOUND, limits=LIMITS)
    await made.close()
