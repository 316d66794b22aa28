"""A shadow version, on a Triton that answers from arithmetic: what it is asked, when, and what callers notice of it."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from hemaserve.errors import Unavailable
from services.classifier import shadow as shadow_module
from services.classifier.agreement import Agreement, agreement, word
from services.classifier.shadow import MAX_CROPS, PIECE, RETRY_S, Dropped, Shadow
from services.runtime.caller import current_caller

MODEL = "xception"
PATIENCE_S = 20.0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def shadowing(triton, catalogue, networks, clock):
    """A shadow of a model, with versions that say the same and something else."""
    for name in (MODEL, "same", "other"):
        triton.descriptions[name] = triton.describe(name, identify_threshold="0.28")
    triton.same_answers = {"same": MODEL}
    return Shadow(catalogue, networks, clock=clock)


@pytest.fixture
def ask(catalogue, networks, shadowing, tagged_crops) -> Callable:
    async def answer(count, shadow, model=MODEL):
        crops = tagged_crops(range(count))
        answered = await networks.answer(await catalogue.get(model), crops, timeout_s=5)
        shadowing.offer(shadow, crops, answered, answered.decisions(), 0.01)
        return answered

    return answer


def value(shadowing, name, **labels) -> float:
    return shadowing._metrics.registry.get_sample_value(f"hemaserve_shadow_{name}", labels) or 0.0


def compared(shadowing, how, model=MODEL) -> float:
    return value(shadowing, "cells_compared_total", model=model, agreement=how.value)


def dropped(shadowing, why, model=MODEL) -> float:
    return value(shadowing, "cells_dropped_total", model=model, reason=why.value)


async def settled(shadowing) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await shadowing._worker


async def test_every_cell_is_compared_once_and_counted_by_what_both_said(
    triton, networks, catalogue, shadowing, ask, tagged_crops
):
    said = (await ask(40, "other")).decisions()
    await settled(shadowing)
    other = await networks.answer(await catalogue.get("other"), tagged_crops(range(40)), timeout_s=5)
    pairs = list(zip(said, other.decisions(), strict=True))
    expected = Counter(agreement(*pair) for pair in pairs)
    assert expected.total() == 40
    assert len(expected) >= 3
    assert {how: compared(shadowing, how) for how in Agreement if compared(shadowing, how)} == expected
    for words, count in Counter((word(one), word(two)) for one, two in pairs).items():
        labels = dict(zip(("said", "shadow_said"), words, strict=True))
        found = value(shadowing, "cells_disagreed_total", model=MODEL, **labels)
        assert found == (count if words[0] != words[1] else 0)
    assert value(shadowing, "cell_seconds_count", model=MODEL, by="shadow") == 3
    assert value(shadowing, "cell_seconds_count", model=MODEL, by="model") == 1


async def test_nothing_is_begun_while_a_caller_is_at_work(triton, shadowing, ask):
    with shadowing.caller_at_work():
        await ask(3, "same")
        await asyncio.sleep(0)
        assert ("same", 3) not in triton.batches
    await settled(shadowing)
    assert ("same", 3) in triton.batches


async def test_a_caller_who_comes_finds_at_most_one_piece_before_it(triton, shadowing, ask, monkeypatch):
    asked = []

    async def answering(model, crops, **_):
        asked.append(len(crops))
        caller.__enter__()
        raise Unavailable("away")

    caller = shadowing.caller_at_work()
    await ask(3 * PIECE, "same")
    monkeypatch.setattr(shadowing._networks, "answer", answering)
    async with asyncio.timeout(PATIENCE_S):
        while not asked:  # noqa: ASYNC110 - it is for the worker to run
            await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    assert asked == [PIECE]
    await shadowing.close()


async def test_what_waited_too_long_is_dropped(shadowing, ask, clock):
    with shadowing.caller_at_work():
        await ask(5, "same")
        clock.now = shadow_module.MAX_WAIT_S + 1
        await settled(shadowing)
    assert dropped(shadowing, Dropped.BUSY) == 5


async def test_what_there_is_no_room_for_is_dropped_at_once(shadowing, ask):
    with shadowing.caller_at_work():
        await ask(MAX_CROPS - 1, "same")
        await ask(2, "same")
        assert dropped(shadowing, Dropped.BUSY) == 2
        await ask(1, "same")
    await settled(shadowing)
    assert dropped(shadowing, Dropped.BUSY) == 2
    assert sum(compared(shadowing, how) for how in Agreement) == MAX_CROPS
    with shadowing.caller_at_work():  # there is room again
        await ask(2, "same")
    await settled(shadowing)
    assert dropped(shadowing, Dropped.BUSY) == 2


async def test_a_version_that_fails_is_left_alone_for_a_while(triton, shadowing, ask, clock):
    triton.failing["same"] = Unavailable("away")
    await ask(PIECE + 1, "same")
    await settled(shadowing)
    await ask(2, "same")
    assert dropped(shadowing, Dropped.FAILED) == PIECE + 3
    del triton.failing["same"]
    clock.now += RETRY_S
    await ask(2, "same")
    await settled(shadowing)
    assert dropped(shadowing, Dropped.FAILED) == PIECE + 3
    assert sum(compared(shadowing, how) for how in Agreement) == 2


async def test_a_version_that_there_is_not_and_one_that_breaks_end_nothing(
    shadowing, ask, monkeypatch, clock
):
    await ask(2, "nobody")
    await settled(shadowing)

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(shadow_module, "agreement", broken)
    await ask(2, "same")
    await settled(shadowing)
    assert dropped(shadowing, Dropped.FAILED) == 4
    monkeypatch.undo()
    await ask(2, "same")
    await settled(shadowing)
    assert sum(compared(shadowing, how) for how in Agreement) == 2


async def test_other_crops_and_parts_of_ensembles_are_not_compared(triton, shadowing, ask):
    triton.descriptions["wider"] = triton.describe("wider", crop_margin="0.3")
    await ask(2, "wider")
    await settled(shadowing)
    assert dropped(shadowing, Dropped.OTHER_CROPS) == 2
    triton.failing["vit"] = Unavailable("away")
    triton.failing["ensemble"] = Unavailable("away")
    assert (await ask(3, "same", model="ensemble")).degraded
    assert dropped(shadowing, Dropped.DEGRADED, model="ensemble") == 3
    await ask(2, "ensemble")
    await settled(shadowing)
    assert dropped(shadowing, Dropped.DEGRADED) == 2


async def test_it_is_asked_as_the_least_urgent_of_all(triton, shadowing, ask, monkeypatch):
    seen = []
    infer = triton.infer

    async def noting(model, *args, **kwargs):
        seen.append((model, current_caller.get().client, kwargs["priority"]))
        return await infer(model, *args, **kwargs)

    monkeypatch.setattr(triton, "infer", noting)
    await ask(1, "same")
    await settled(shadowing)
    assert [(client, priority) for model, client, priority in seen if model == "same"] == [("shadow", 3)]


async def test_closing_ends_what_is_under_way(triton, shadowing, ask):
    triton.late.add("same")
    await ask(2, "same")
    async with asyncio.timeout(PATIENCE_S):
        while ("same", 2) not in triton.batches:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
        await shadowing.close()
    assert triton.cancelled == ["same"]
