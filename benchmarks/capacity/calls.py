"""Calls of a simulated stack: the same kinds of load as `benchmarks.call_load` puts on a real one."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.call_load import Call, arrivals
from benchmarks.capacity.cores import Threads, disturb
from benchmarks.capacity.profile import Profile
from benchmarks.capacity.stack import Layout, Stack
from benchmarks.capacity.virtual_time import now_s, simulate
from benchmarks.peers.callers import LATE, OK, REFUSED
from hemaserve.errors import DeadlineExceeded, ResourceExhausted
from hemaserve.results import Priority
from services.runtime.caller import Caller


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a simulated load.

    Attributes:
        calls: all calls after the warm-up.
        seconds: how long calls counted.
        busy: how busy the cores of each role were, 0 to 1.
    """

    calls: list[Call]
    seconds: float
    busy: dict[str, float]

    @property
    def throughput(self) -> float:
        """Answered calls a second."""
        return sum(call.outcome == OK for call in self.calls) / self.seconds

    def latency_ms(self, share: float) -> float:
        """Latency that so many percent of the answered calls stay below; NaN when none was answered."""
        times = [1000 * call.seconds for call in self.calls if call.outcome == OK]
        return float(np.percentile(times, share)) if times else float("nan")


class Callers:
    """Who calls: their own work is done by one process each, on the stack's cores where these are one machine's."""

    def __init__(self, stack: Stack, profile: Profile, deadline_s: float, seed: int) -> None:
        self._stack = stack
        self._profile = profile
        self._deadline_s = deadline_s
        self._chance = random.Random(seed)
        self._own = Threads(stack.shared, 1) if stack.shared else None
        self._number = 0

    async def ask(self, priority: Priority = Priority.ROUTINE) -> Call:
        """One call, of one field."""
        number, self._number = self._number, self._number + 1
        gateway = self._stack.gateways[number % len(self._stack.gateways)]
        what = self._chance.choice(self._profile.fields)
        began = now_s()
        if self._own:
            await self._own.run(0.5 * self._profile.client_s)
        try:
            await gateway.analyze(what, Caller(f"client-{number % 4}", priority), self._deadline_s)
            outcome = OK
        except ResourceExhausted:
            outcome = REFUSED
        except (TimeoutError, DeadlineExceeded):
            outcome = LATE
        if self._own:
            await self._own.run(0.5 * self._profile.client_s)
        return Call(priority.value, outcome, now_s() - began, now_s())


def closed_loop(
    profile: Profile,
    layout: Layout,
    at_once: int,
    seconds: float,
    *,
    deadline_s: float = 20.0,
    seed: int = 1,
    others: float = 0.0,
) -> Outcome:
    """So many calls at a time, each followed by the next."""

    async def load(callers: Callers, note: Callable[[Call], None]) -> None:
        async def one_after_another() -> None:
            while True:
                note(await callers.ask())

        await asyncio.gather(*(one_after_another() for _ in range(at_once)))

    return _run(profile, layout, load, seconds, deadline_s, seed, others=others)


def open_loop(
    profile: Profile,
    layout: Layout,
    rate: float,
    seconds: float,
    *,
    deadline_s: float = 20.0,
    seed: int = 1,
    warm_up_s: float = 5.0,
    others: float = 0.0,
) -> Outcome:
    """So many calls a second at random moments, whether the ones before are answered or not.

    With as little warm-up as none, they come at the very moments at which `benchmarks.call_load.open_loop` sends them.
    """

    async def load(callers: Callers, note: Callable[[Call], None]) -> None:
        async def one(priority: str) -> None:
            note(await callers.ask(Priority(priority)))

        async with asyncio.TaskGroup() as group:
            for at_s, priority in arrivals(rate, warm_up_s + seconds):
                await asyncio.sleep(at_s - now_s())
                group.create_task(one(priority))

    return _run(profile, layout, load, seconds, deadline_s, seed, warm_up_s, others)


def _run(
    profile: Profile,
    layout: Layout,
    load: Callable[[Callers, Callable[[Call], None]], Coroutine[Any, Any, None]],
    seconds: float,
    deadline_s: float,
    seed: int,
    warm_up_s: float = 5.0,
    others: float = 0.0,
) -> Outcome:
    async def main() -> Outcome:
        stack = Stack(profile, layout, seed)
        calls: list[Call] = []

        def note(call: Call) -> None:
            if now_s() >= warm_up_s:
                calls.append(call)

        loading = asyncio.create_task(load(Callers(stack, profile, deadline_s, seed), note))
        others_too = asyncio.create_task(disturb(stack.shared, others, seed)) if stack.shared else None
        # A closed loop never ends by itself; an open one ends when its last call is over.
        await asyncio.wait({loading}, timeout=warm_up_s + seconds)
        if loading.done():
            await loading
        busy = stack.busy_share(now_s())
        loading.cancel()
        if others_too:
            others_too.cancel()
        return Outcome(calls, seconds, busy)

    return simulate(main())
