"""Processors and who works on them."""

import asyncio
import heapq
import itertools
import random
from typing import Final

from benchmarks.capacity.virtual_time import now_s


class Cores:
    """The cores of one machine or pod, shared evenly by all threads that have something to do, none on two of them.

    That is egalitarian processor sharing, which is what Linux's fair scheduler does in the long run (Kleinrock,
    Queueing Systems, volume 2, 1976, chapter 4). All threads advance at the same rate, so that one clock of attained
    service, and a heap of when each is done by that clock, tell who is done next.

    Args:
        count: how many there are.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._attained_s = 0.0
        self._looked_s = 0.0
        self._busy_s = 0.0
        self._threads: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._next: asyncio.TimerHandle | None = None

    @property
    def busy_s(self) -> float:
        """Processor seconds spent so far, over all cores."""
        self._advance()
        return self._busy_s

    async def run(self, cpu_s: float) -> None:
        """Work that takes a thread so many seconds when it has a core to itself."""
        if cpu_s <= 0:
            return
        self._advance()
        done = asyncio.get_running_loop().create_future()
        heapq.heappush(self._threads, (self._attained_s + cpu_s, next(self._numbers), done))
        self._plan()
        try:
            await done
        except asyncio.CancelledError:
            self._advance()
            self._threads = [each for each in self._threads if each[2] is not done]
            heapq.heapify(self._threads)
            self._plan()
            raise

    def _rate(self) -> float:
        threads = len(self._threads)
        return 1.0 if threads <= self.count else self.count / threads

    def _advance(self) -> None:
        now = now_s()
        if self._threads:
            passed = now - self._looked_s
            self._attained_s += passed * self._rate()
            self._busy_s += passed * min(self.count, len(self._threads))
        self._looked_s = now

    def _plan(self) -> None:
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._threads:
            left_s = max(0.0, self._threads[0][0] - self._attained_s) / self._rate()
            self._next = asyncio.get_running_loop().call_later(left_s, self._finish)

    def _finish(self) -> None:
        self._advance()
        first = self._threads[0][0]
        # At least the one that was due, whatever rounding says.
        while self._threads and self._threads[0][0] <= max(first, self._attained_s):
            _, _, done = heapq.heappop(self._threads)
            if not done.done():
                done.set_result(None)
        self._plan()


class Threads:
    """Threads of one process: so many pieces of work at a time, the others in the order in which they came.

    Args:
        cores: where they run.
        at_once: how many there are; 1 is an event loop, which does one thing after the other.
        aside: share of the work that nobody waits for, 0 to 1: gRPC's own threads do it beside the rest.
    """

    def __init__(self, cores: Cores, at_once: int, aside: float = 0.0) -> None:
        self._cores = cores
        self._room = asyncio.Semaphore(at_once)
        self._aside = aside
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, cpu_s: float) -> None:
        """One piece of work."""
        async with self._room:
            if self._aside:
                task = asyncio.get_running_loop().create_task(self._cores.run(self._aside * cpu_s))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            await self._cores.run((1 - self._aside) * cpu_s)


async def disturb(cores: Cores, share: float, seed: int) -> None:
    """Other work on the same machine, for ever: short pieces at random moments, so much of all cores on average."""
    chance = random.Random(seed)
    while share:
        await asyncio.sleep(chance.expovariate(share * cores.count / _PIECE_S))
        task = asyncio.create_task(cores.run(chance.expovariate(1 / _PIECE_S)))
        _disturbing.add(task)
        task.add_done_callback(_disturbing.discard)


_PIECE_S: Final = 0.01
_disturbing: "set[asyncio.Task[None]]" = set()
