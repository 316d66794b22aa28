"""Who may work now, who waits, and who is told at once that waiting is of no use: one scheduler for every service.

It hands out a capacity (fields, crops, milliseconds of a network's time) in the order of `fair_queue`. Whoever would
have to wait longer than its deadline allows is refused when it comes, not when it is late, so that under overload what
is accepted is answered in time and next to nothing is computed in vain.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from hemaserve.errors import DeadlineExceeded, InvalidArgument, ResourceExhausted
from hemaserve.results import Priority
from services.runtime.admission_metrics import AdmissionMetrics
from services.runtime.caller import current_caller
from services.runtime.fair_queue import RANKS, Entry, FairQueue
from services.runtime.remote import Deadline
from services.runtime.stages import stage

_MEMORY: Final = 0.95
"""What a measured time keeps of its weight with each further one: about the last twenty count."""

_MARGIN: Final = 1.5
"""How much longer than the mean a piece of work may well take, at least: about half of them take longer than that."""

_DEVIATIONS: Final = 2.0
"""How many mean deviations above the mean hold nearly all; TCP's timer (RFC 6298) takes four, and has less to lose."""

_RETRY_S: Final = (0.05, 30.0)
"""Least and most that a refused caller is told to wait; between them, what was measured decides."""

_UNMEASURED_RETRY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Capacity:
    """What a scheduler hands out.

    Attributes:
        name: what it is, for metrics: e.g. `fields`.
        size: how much of it can be held at one time, at least 1.
        waiting: how much may be waited for; beyond it, who would be served last is refused.
        kept_for_stat: how much of `size` only STAT may hold, so that it need not wait until others are done; at least
            1 is left to these.
        beside_stat: while STAT is at work, others are let in up to this much only, for all of them need the same
            processors; None: as ever.
        stage: name of the stage that waiting for it is.
    """

    name: str
    size: int
    waiting: int
    kept_for_stat: int = 0
    beside_stat: int | None = None
    stage: str = "queue"

    def open_to(self, priority: Priority) -> int:
        """Up to how much may be held when work of this priority is let in."""
        kept = 0 if priority is Priority.STAT else min(self.kept_for_stat, self.size - 1)
        return self.size - kept


@dataclass(eq=False, slots=True)
class _Work(Entry):
    """Work that waits for its turn or has it.

    Attributes:
        deadline: when it must be done; None when nobody said.
        patient: whether it waits whatever the estimate says.
        turn: done when it is its turn, or with a refusal when it is to wait no more.
        queued: whether it waits.
        holds: whether it has had its turn, and holds what it costs.
    """

    deadline: Deadline | None = None
    patient: bool = False
    turn: asyncio.Future[ResourceExhausted | None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    queued: bool = False
    holds: bool = False


class Admission:
    """A scheduler of one capacity. Belongs to one event loop.

    Args:
        capacity: what there is.
        metrics: where its figures go.
        clock: seconds; monotonic.
    """

    def __init__(
        self,
        capacity: Capacity,
        metrics: AdmissionMetrics | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.capacity = capacity
        self._metrics = metrics or AdmissionMetrics()
        self._clock = clock
        self._queue = FairQueue()
        self._held = 0
        self._held_by_stat = 0
        self._pace = _Pace()
        self._metrics.watch(capacity.name, capacity.size, held=lambda: self._held, waiting=self._queue.count)

    @property
    def held(self) -> int:
        """How much is held at this moment."""
        return self._held

    @property
    def waiting(self) -> int:
        """How many wait at this moment."""
        return len(self._queue)

    @asynccontextmanager
    async def admitted(
        self, cost: int = 1, *, deadline: Deadline | None = None, patient: bool = False
    ) -> AsyncIterator[None]:
        """Wait for room, and hold it inside the block. `current_caller` says for whom.

        Args:
            cost: how much; who asks for more than there is at all, gets all of it.
            deadline: when the work must be done; None when nobody said.
            patient: wait whatever the length of the queue and the estimated time. For those whose number is bounded
                elsewhere, and whose waiting slows down who sends them.

        Raises:
            ResourceExhausted: the queue is full, the deadline cannot be met, or more urgent work took the place.
            DeadlineExceeded: the turn did not come in time.
        """
        caller, began = current_caller.get(), self._clock()
        most = self.capacity.open_to(caller.priority)
        work = _Work(caller, min(max(cost, 1), most), deadline=deadline, patient=patient)
        try:
            with stage(self.capacity.stage):
                self._enter(work)
                await self._turn(work)
        except BaseException as error:
            self._metrics.refused(self.capacity.name, caller.priority, _reason(error))
            self._leave(work)
            raise
        self._metrics.waited(self.capacity.name, caller.priority, self._clock() - began)
        since, telling = self._clock(), True
        try:
            yield
        except InvalidArgument:
            telling = False  # refused for its own sake, which says nothing of how long work takes
            raise
        finally:
            if telling:
                self._pace.note(work, self._clock() - since)
            self._leave(work)

    def check(self, *, deadline: Deadline | None = None) -> None:
        """Refuse work of cost 1 that would be refused if it came now, e.g. before its message is received.

        Raises:
            ResourceExhausted: as `admitted` would.
        """
        caller = current_caller.get()
        work = _Work(caller, 1, deadline=deadline)
        self._queue.push(work)
        there_is_room = self._held + work.cost <= self._open_to(caller.priority)
        if there_is_room and self._queue.first() is work:
            refusal = self._refusal_of_next(work)
        else:
            refusal = self._refusal_of(work)
        self._queue.remove(work)
        if refusal is not None:
            self._metrics.refused(self.capacity.name, caller.priority, refusal.reason)
            raise refusal

    def _enter(self, work: _Work) -> None:
        self._queue.push(work)
        work.queued = True
        self._hand_out()
        if work.patient or not work.queued:
            return
        if refusal := self._refusal_of(work):
            raise refusal
        while self._is_overfull() and isinstance(last := self._queue.last(), _Work):
            self._end(last, self._refusal(last, "DISPLACED", "more urgent work took the place"))

    def _refusal_of(self, work: _Work) -> ResourceExhausted | None:
        """Why work that is in the queue had better not wait."""
        if self._is_too_late(work, self._wait_s(work)):
            return self._refusal(work, "DEADLINE_UNREACHABLE", "there is too much to do before the deadline")
        if self._is_overfull() and self._queue.last() is work:
            return self._refusal(work, "QUEUE_FULL", "too much is waiting already")
        return None

    def _refusal_of_next(self, work: _Work) -> ResourceExhausted | None:
        """Why work had better not begin although there is room for it."""
        # Never while nothing is at work: then nobody would learn that work takes less time by now.
        if self._held and self._is_too_late(work, 0.0):
            return self._refusal(work, "DEADLINE_UNREACHABLE", "the deadline is too near")
        return None

    def _is_overfull(self) -> bool:
        return self._queue.cost > self.capacity.waiting

    async def _turn(self, work: _Work) -> None:
        # Not until the deadline itself: so soon before it, a turn would be of no use.
        needed_s = 0.0 if work.patient or not work.queued else self._pace.needed_s
        try:
            async with asyncio.timeout(
                None if work.deadline is None else max(0.0, work.deadline.remaining_s() - needed_s)
            ):
                refusal = await work.turn
        except TimeoutError:
            if needed_s:
                raise self._refusal(work, "DEADLINE_UNREACHABLE", "others were more urgent") from None
            raise DeadlineExceeded("the deadline passed while the work waited for its turn") from None
        if refusal is not None:
            raise refusal

    def _leave(self, work: _Work) -> None:
        """The end of every piece of work, whatever became of it: its place is another's."""
        if work.queued:
            self._queue.remove(work)
            work.queued = False
        if work.holds:
            self._hold(work, -work.cost)
            work.holds = False
        self._hand_out()

    def _hand_out(self) -> None:
        while isinstance(work := self._queue.first(), _Work):
            if self._held + work.cost > self._open_to(work.caller.priority):
                return
            if work.turn.done():  # cancelled a moment ago
                self._end(work, None)
            elif refusal := self._refusal_of_next(work):
                self._end(work, refusal)
            else:
                self._queue.pop()
                work.queued, work.holds = False, True
                self._hold(work, work.cost)
                work.turn.set_result(None)

    def _hold(self, work: _Work, cost: int) -> None:
        self._held += cost
        if work.caller.priority is Priority.STAT:
            self._held_by_stat += cost

    def _open_to(self, priority: Priority) -> int:
        """Up to how much may be held, at this moment, when work of this priority is let in."""
        most = self.capacity.open_to(priority)
        beside = self.capacity.beside_stat
        if priority is Priority.STAT or beside is None or not self._held_by_stat:
            return most
        return min(most, self._held_by_stat + beside)

    def _end(self, work: _Work, refusal: ResourceExhausted | None) -> None:
        """Take waiting work out of the queue, and tell it why."""
        self._queue.remove(work)
        work.queued = False
        if not work.turn.done():
            work.turn.set_result(refusal)

    def _is_too_late(self, work: _Work, wait_s: float) -> bool:
        if work.deadline is None or work.patient or not self._pace.unit_s:
            return False
        try:
            return wait_s + self._pace.needed_s > work.deadline.remaining_s()
        except DeadlineExceeded:
            return True

    def _wait_s(self, work: _Work) -> float:
        """How long waiting work will wait, about (Little's law): what goes before it, at the rate of a full house.

        More urgent work will come meanwhile as it came lately, and go before it too.
        """
        priority = work.caller.priority
        most = self.capacity.open_to(priority)
        missing = self._queue.ahead_of(work) + work.cost + self._held - most
        return (
            max(0, missing) * self._pace.unit_s / (most * max(self._pace.left_by_the_urgent(priority), 0.01))
        )

    def _refusal(self, work: _Work, reason: str, message: str) -> ResourceExhausted:
        retry_s = self._wait_s(work) or self._pace.unit_s or _UNMEASURED_RETRY_S
        least, most = _RETRY_S
        return ResourceExhausted(message, reason=reason, retry_after_s=min(max(retry_s, least), most))


class _Pace:
    """How long a unit of the capacity is held, and by work of which priority, on average over the latest work."""

    def __init__(self) -> None:
        self._cost = [0.0] * len(RANKS)
        self._cost_s = 0.0
        self._deviation_s = 0.0

    @property
    def unit_s(self) -> float:
        """Seconds; 0 while nothing was measured."""
        return self._cost_s / sum(self._cost) if self._cost_s else 0.0

    @property
    def needed_s(self) -> float:
        """Seconds within which nearly all work is done that has its turn; 0 while nothing was measured."""
        deviation_s = self._deviation_s / sum(self._cost) if self._cost_s else 0.0
        return max(_MARGIN * self.unit_s, self.unit_s + _DEVIATIONS * deviation_s)

    def left_by_the_urgent(self, priority: Priority) -> float:
        """The share of the capacity, 0 to 1, that work more urgent than this leaves to it."""
        served = sum(self._cost)
        return 1 - sum(self._cost[: RANKS[priority]]) / served if served else 1.0

    def note(self, work: Entry, seconds: float) -> None:
        deviation_s = abs(seconds - self.unit_s) if self._cost_s else 0.0
        self._deviation_s = _MEMORY * self._deviation_s + work.cost * deviation_s
        self._cost = [_MEMORY * cost for cost in self._cost]
        self._cost[RANKS[work.caller.priority]] += work.cost
        self._cost_s = _MEMORY * self._cost_s + work.cost * seconds


def _reason(error: BaseException) -> str:
    """Why work that waited did not get its turn, as a metric's label."""
    if isinstance(error, ResourceExhausted):
        return error.reason
    return "DEADLINE_EXCEEDED" if isinstance(error, DeadlineExceeded) else "CANCELLED"
