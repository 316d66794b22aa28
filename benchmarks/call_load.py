"""Calls of a server as load, from a process of their own: as fast as it answers, or at a rate of their own.

A rate's calls are sent when they are due, whether the ones before are answered or not, and how long one takes counts
from when it was due: a generator that falls behind makes the figures worse and never better.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.apart import Apart
from benchmarks.peers.callers import OK, Caller, Target, caller

MIX: Final = {"stat": 0.02, "routine": 0.49, "batch": 0.49}
"""Shares of the calls under overload. STAT is rare, as it is in a laboratory: it is nobody's flood."""

ROUTINE: Final = {"routine": 1.0}

CLIENTS: Final = 4
"""Connections at a rate. Without credentials, clients are told apart by their addresses, here one."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call.

    Attributes:
        priority: stat, routine or batch.
        outcome: what became of it.
        seconds: how long that took from when it was due.
        ended_s: when that was, in seconds since the load began.
        late_s: how long after it was due it was sent, which is the generator's fault.
    """

    priority: str
    outcome: str
    seconds: float
    ended_s: float
    late_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Plan:
    """Whom to ask, and with what image files, in turn."""

    target: Target
    images: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """What came of some load.

    Attributes:
        calls: in the order in which they ended.
        took_s: for how long calls were begun.
        cpu_s: processor seconds of the generator itself.
    """

    calls: list[Call]
    took_s: float
    cpu_s: float

    def per_second(self, lead_s: float = 0.0) -> float:
        """Good answers a second, from `lead_s` on to the end of beginning calls."""
        good = sum(call.outcome == OK and lead_s <= call.ended_s <= self.took_s for call in self.calls)
        return good / (self.took_s - lead_s)

    def seconds(self, priority: str | None = None) -> list[float]:
        """How long the good answers took."""
        return [
            call.seconds for call in self.calls if call.outcome == OK and priority in (None, call.priority)
        ]


Kind = Callable[["_Asking", float, float], Awaitable[None]]
"""A kind of load: for how many seconds, and how much of it."""


def generate(
    kind: Kind, plan: Plan, seconds: float, how_much: float, *, meanwhile: Callable[[], None] | None = None
) -> Load:
    """Run a kind of load once, in a process of its own."""
    with Apart(loading, plan) as process:
        return run(process, kind, seconds, how_much, meanwhile=meanwhile)


def run(
    process: Apart,
    kind: Kind,
    seconds: float,
    how_much: float,
    *,
    meanwhile: Callable[[], None] | None = None,
) -> Load:
    """Run a kind of load in a process that was prepared by `loading`."""
    (calls, took_s), cpu_s = process.do(kind, seconds, how_much, meanwhile=meanwhile)
    return Load([Call(*row) for row in calls], took_s, cpu_s)


def loading(plan: Plan) -> Callable[..., Any]:
    """Prepare a process to be load."""

    def act(kind: Kind, seconds: float, how_much: float) -> tuple[list[tuple[Any, ...]], float]:
        return asyncio.run(_load(plan, kind, seconds, how_much))

    return act


async def _load(
    plan: Plan, kind: Kind, seconds: float, how_much: float
) -> tuple[list[tuple[Any, ...]], float]:
    async with AsyncExitStack() as open_callers:
        callers = [await open_callers.enter_async_context(caller(plan.target)) for _ in range(CLIENTS)]
        asking = _Asking(callers, plan.images)
        await kind(asking, seconds, how_much)
        took_s = min(time.monotonic() - asking.began, seconds)
    return asking.calls, took_s


class _Asking:
    """Callers that take turns, and what they were told."""

    def __init__(self, callers: list[Caller], images: tuple[bytes, ...]) -> None:
        self._callers = callers
        self._images = images
        self._number = 0
        self.calls: list[tuple[Any, ...]] = []
        self.began = time.monotonic()

    async def ask(self, priority: str, due: float | None = None) -> None:
        """Send the next image.

        Args:
            due: when it should have been sent, on the monotonic clock; now by default.
        """
        number, self._number = self._number, self._number + 1
        sent = time.monotonic()
        due = sent if due is None else due
        outcome = await self._callers[number % len(self._callers)].call(
            self._images[number % len(self._images)], priority
        )
        ended = time.monotonic()
        self.calls.append((priority, outcome, ended - due, ended - self.began, sent - due))


async def closed_loop(asking: _Asking, seconds: float, at_once: float) -> None:
    """So many routine calls at a time, each followed by the next."""
    end = asking.began + seconds

    async def one_after_another() -> None:
        while time.monotonic() < end:
            await asking.ask("routine")

    await asyncio.gather(*(one_after_another() for _ in range(int(at_once))))


async def stat_alone(asking: _Asking, seconds: float, _: float) -> None:
    """One STAT call after another."""
    while time.monotonic() < asking.began + seconds:
        await asking.ask("stat")


async def open_loop(asking: _Asking, seconds: float, rate: float) -> None:
    """So many calls a second of all priorities, at random moments (a Poisson process)."""
    await _at_random(asking, seconds, rate, MIX)


async def routine_at_random(asking: _Asking, seconds: float, rate: float) -> None:
    """So many routine calls a second, at random moments (a Poisson process)."""
    await _at_random(asking, seconds, rate, ROUTINE)


async def _at_random(asking: _Asking, seconds: float, rate: float, mix: Mapping[str, float]) -> None:
    async with asyncio.TaskGroup() as group:
        for at, priority in arrivals(rate, seconds, mix):
            due = asking.began + at
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            group.create_task(asking.ask(priority, due))


def arrivals(
    rate: float, seconds: float, mix: Mapping[str, float] = MIX, seed: int = 1
) -> Iterator[tuple[float, str]]:
    """When calls at random moments are due, in seconds, and how urgent each is: the same for a seed."""
    chance = random.Random(seed)
    at = 0.0
    while (at := at + chance.expovariate(rate)) < seconds:
        (priority,) = chance.choices(list(mix), list(mix.values()))
        yield at, priority
