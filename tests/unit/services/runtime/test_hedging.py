"""Slow attempts get company, the first answer wins, and nothing is left running."""

import asyncio

import pytest

from hemaserve.errors import Internal, Unavailable
from services.runtime.hedging import LEAST_DELAY_S, LEAST_SEEN, MOST_AT_ONCE, MOST_SAVED, Hedging


class Attempts:
    """Attempts of which each waits for its own event, if it has one, and then does its part."""

    def __init__(self, *held, outcomes=()):
        self.gates = {number: asyncio.Event() for number in held}
        self.outcomes = dict(outcomes)
        self.begun = []
        self.cancelled = []
        self.changed = asyncio.Condition()

    async def until_begun(self, count):
        async with asyncio.timeout(20), self.changed:
            await self.changed.wait_for(lambda: len(self.begun) >= count)

    async def __call__(self):
        number = len(self.begun)
        async with self.changed:
            self.begun.append(number)
            self.changed.notify_all()
        try:
            if number in self.gates:
                await self.gates[number].wait()
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        if number in self.outcomes:
            raise self.outcomes[number]
        return number


async def experienced(share=0.1):
    """A hedging that has seen enough fast ones to know what is slow."""
    hedging = Hedging(share)
    for _ in range(LEAST_SEEN):
        await hedging.first(Attempts())
    return hedging


async def test_a_slow_attempt_is_overtaken_and_cancelled():
    attempts = Attempts(0)
    assert await (await experienced()).first(attempts) == 1
    assert attempts.begun == [0, 1]
    assert attempts.cancelled == [0]


async def test_a_fast_attempt_stays_alone():
    attempts = Attempts()
    assert await (await experienced()).first(attempts) == 0
    assert attempts.begun == [0]


async def test_the_first_answer_wins_also_when_it_is_the_first_attempts():
    attempts = Attempts(0, 1, 2)
    asked = asyncio.create_task((await experienced()).first(attempts))
    await attempts.until_begun(2)
    attempts.gates[0].set()
    assert await asked == 0
    assert 1 in attempts.cancelled


async def test_there_are_never_more_than_a_few_side_by_side():
    attempts = Attempts(*range(10))
    asked = asyncio.create_task((await experienced()).first(attempts))
    await attempts.until_begun(MOST_AT_ONCE)
    await asyncio.sleep(3 * LEAST_DELAY_S)
    assert len(attempts.begun) == MOST_AT_ONCE
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert sorted(attempts.cancelled) == attempts.begun


async def test_one_that_breaks_leaves_it_to_the_others():
    attempts = Attempts(0, 1, outcomes={0: Unavailable("lost")})
    asked = asyncio.create_task((await experienced()).first(attempts))
    await attempts.until_begun(2)
    attempts.gates[0].set()
    await asyncio.sleep(0)
    attempts.gates[1].set()
    assert await asked in (1, 2)


@pytest.mark.parametrize("error", [Unavailable("lost"), Internal("a defect")])
async def test_one_that_fails_alone_has_failed(error):
    with pytest.raises(type(error)):
        await (await experienced()).first(Attempts(outcomes={0: error}))


@pytest.mark.parametrize("hedging", [Hedging(0.1), Hedging(0.0)])
async def test_nothing_is_made_twice_before_it_is_known_what_is_slow_or_where_it_is_off(hedging):
    if hedging.delay_s and not hedging._share:
        for _ in range(LEAST_SEEN):
            await hedging.first(Attempts())
    attempts = Attempts(0)
    asked = asyncio.create_task(hedging.first(attempts))
    await asyncio.sleep(2 * LEAST_DELAY_S)
    assert attempts.begun == [0]
    attempts.gates[0].set()
    assert await asked == 0


async def test_further_attempts_are_a_share_of_all():
    hedging = await experienced(share=0.5)
    hedging._saved = 0.6
    attempts = Attempts(0)
    asked = asyncio.create_task(hedging.first(attempts))
    await asyncio.sleep(2 * LEAST_DELAY_S)
    assert attempts.begun == [0]
    attempts.gates[0].set()
    await asked
    assert await hedging.first(Attempts(0)) == 1  # the success above was the other half
    assert hedging._saved < MOST_SAVED


async def test_what_is_slow_follows_what_was_seen():
    now = 0.0
    hedging = Hedging(0.1, clock=lambda: now)

    async def lasting(seconds):
        nonlocal now
        now += seconds

    for tenths in range(1, 101):
        await hedging.first(lambda tenths=tenths: lasting(tenths / 10))
    assert hedging.delay_s == pytest.approx(9.5)
