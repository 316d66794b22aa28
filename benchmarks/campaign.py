"""Faults at random moments against a running stack, never against both sides of it at once."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.fault_kinds import KINDS, Target
from benchmarks.faulty_stack import FaultyStack
from benchmarks.load import Tally

POLL_S: Final = 0.5
STEADY_S: Final = 2.0
"""Health that lasts this long is believed: a process that is gone is not missed at once."""
LEAST_GAP_S: Final = 1.0
RECOVERY_TIMEOUT_S: Final = 180.0


@dataclass
class Fault:
    """One fault; times are on the monotonic clock, and none until it has come.

    Attributes:
        kind: what was done.
        side: the number of the replica.
        target: to what.
        began: when.
        whole: when what was hit was well again.
    """

    kind: str
    side: int
    target: str = ""
    began: float = 0.0
    whole: float | None = None


class Campaign:
    """Faults against a stack, one after the other and some at once."""

    def __init__(
        self, stack: FaultyStack, tally: Tally, *, seed: int, every_s: float, kinds: Sequence[str] = ()
    ) -> None:
        self.faults: list[Fault] = []
        self._stack = stack
        self._tally = tally
        self._chance = random.Random(seed)
        self._every_s = every_s
        self._kinds = kinds or list(KINDS)
        self._started = time.monotonic()
        self._open: set[asyncio.Task[None]] = set()
        self._sides: Counter[int] = Counter()

    async def run(self, seconds: float) -> None:
        """Strike for some time, then wait until all is well."""
        while (left := self._started + seconds - time.monotonic()) > 0:
            gap = max(self._chance.expovariate(1 / self._every_s), LEAST_GAP_S)
            await asyncio.sleep(min(gap, left))
            if gap < left:
                await self._strike()
        await asyncio.gather(*self._open)

    async def _strike(self) -> None:
        unwell = {replica.label for replica in await self._stack.unwell()}
        replicas = self._stack.replicas()
        sides = {one.number for one in replicas if one.label in unwell} | set(+self._sides)
        if len(sides) > 1:
            return
        side = sides.pop() if sides else self._chance.choice([one.number for one in replicas])
        well = [one for one in replicas if one.number == side and one.label not in unwell]
        fault = Fault(self._chance.choice(self._kinds), side)
        task = asyncio.create_task(self._carry_out(fault, Target(self._stack, side, well, self._chance)))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _carry_out(self, fault: Fault, target: Target) -> None:
        def began(name: str) -> None:
            fault.target, fault.began = name, time.monotonic()
            self.faults.append(fault)
            self._say(fault, "")

        self._sides[fault.side] += 1
        try:
            await KINDS[fault.kind](target, began)
            fault.whole = await self._whole(fault.target)
        except LookupError:
            return  # what was to be hit is gone already
        finally:
            self._sides[fault.side] -= 1
        if fault.whole is None:
            self._tally.note(f"{fault.kind} of {fault.target}:", ["not well again"])
        else:
            self._say(fault, f"well again after {fault.whole - fault.began:.1f} s")

    async def _whole(self, target: str) -> float | None:
        """When all parts that the target names were well, and stayed so."""
        deadline = time.monotonic() + RECOVERY_TIMEOUT_S
        since: float | None = None
        while time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)
            if any(one.label in target for one in await self._stack.unwell()):
                since = None
                continue
            since = since or time.monotonic()
            if time.monotonic() - since >= STEADY_S:
                return since
        return None

    def _say(self, fault: Fault, more: str) -> None:
        tally = self._tally
        wrong = f"{tally.lost} lost, {tally.duplicated} duplicated, {tally.mixed_up} mixed up"
        print(
            f"{time.monotonic() - self._started:7.1f} s  {len(self.faults):3} {fault.kind:<22} {fault.target:<32} "
            f"{more or f'{tally.fields} fields, {tally.cells} cells; {wrong}, {tally.forbidden} forbidden'}",
            flush=True,
        )
