"""The order in which waiting work is served: by priority, then in fair shares between clients, then as it came.

Pure: no clock, no tasks. Fair shares are start-time fair queuing (Goyal, Vin and Cheng, SIGCOMM 1996) with tags at the
head of each client's line only, so that work that leaves before its turn costs its client nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from hemaserve.results import Priority
from services.runtime.caller import Caller

RANKS: Final = {Priority.STAT: 0, Priority.ROUTINE: 1, Priority.BATCH: 2}
"""Strict order: the least is served first."""

_MOST_REMEMBERED: Final = 256
"""Clients without waiting work of which it is remembered how much they had; beyond it the oldest are forgotten."""


@dataclass(eq=False, slots=True)
class Entry:
    """A piece of waiting work.

    Attributes:
        caller: whom it is for.
        cost: how much of the capacity it takes, at least 1.
        number: how many came before it; the queue's to set.
    """

    caller: Caller
    cost: int
    number: int = 0


@dataclass(slots=True)
class _Line:
    """What one client waits for at one priority; `start` is the virtual time at which its first one is due."""

    start: float = 0.0
    cost: int = 0
    entries: deque[Entry] = field(default_factory=deque)


class FairQueue:
    """Waiting work in the order in which it is to be served."""

    def __init__(self) -> None:
        self._levels = [_Level() for _ in RANKS]
        self._came = 0

    def __len__(self) -> int:
        return sum(level.count for level in self._levels)

    @property
    def cost(self) -> int:
        """What all that waits costs together."""
        return sum(level.cost for level in self._levels)

    def count(self, priority: Priority) -> int:
        """How many entries of a priority wait."""
        return self._levels[RANKS[priority]].count

    def push(self, entry: Entry) -> None:
        """Put an entry behind all others of its client and priority."""
        entry.number = self._came
        self._came += 1
        self._level(entry).push(entry)

    def remove(self, entry: Entry) -> None:
        """Take out an entry that waits no more; others are served as if it had never come."""
        self._level(entry).remove(entry)

    def first(self) -> Entry | None:
        """The entry to serve next."""
        return next((level.first() for level in self._levels if level.count), None)

    def pop(self) -> Entry:
        """Take out the entry to serve next, and count it as served.

        Raises:
            IndexError: none waits.
        """
        entry = self.first()
        if entry is None:
            raise IndexError("nothing waits")
        self._level(entry).serve(entry)
        return entry

    def last(self) -> Entry | None:
        """The entry that would be served last if no more came: the one to turn away when there are too many."""
        return next((level.last() for level in reversed(self._levels) if level.count), None)

    def ahead_of(self, entry: Entry) -> int:
        """What is served before an entry that waits costs, about, if nothing more urgent comes."""
        rank = RANKS[entry.caller.priority]
        return sum(level.cost for level in self._levels[:rank]) + self._levels[rank].ahead_of(entry)

    def _level(self, entry: Entry) -> _Level:
        return self._levels[RANKS[entry.caller.priority]]


class _Level:
    """The lines of one priority."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._now = 0.0
        self.count = 0
        self.cost = 0

    def push(self, entry: Entry) -> None:
        line = self._lines.setdefault(entry.caller.client, _Line())
        if not line.entries:
            # Who had nothing to do saves nothing up; who was just served has had that already.
            line.start = max(line.start, self._now)
        line.entries.append(entry)
        self._count(line, entry, 1)

    def remove(self, entry: Entry) -> None:
        line = self._lines[entry.caller.client]
        line.entries.remove(entry)
        self._count(line, entry, -1)

    def serve(self, entry: Entry) -> None:
        line = self._lines[entry.caller.client]
        line.entries.popleft()
        self._count(line, entry, -1)
        self._now = line.start
        line.start += entry.cost
        self._forget()

    def first(self) -> Entry:
        return min(self._waiting(), key=lambda line: (line.start, line.entries[0].number)).entries[0]

    def last(self) -> Entry:
        def due(line: _Line) -> tuple[float, int]:
            return line.start + line.cost - line.entries[-1].cost, line.entries[-1].number

        return max(self._waiting(), key=due).entries[-1]

    def ahead_of(self, entry: Entry) -> int:
        own = self._lines[entry.caller.client]
        before = 0
        for waiting in own.entries:
            if waiting is entry:
                break
            before += waiting.cost
        due = own.start + before
        return before + sum(
            min(line.cost, max(0, int(due - line.start))) for line in self._waiting() if line is not own
        )

    def _waiting(self) -> Iterator[_Line]:
        return (line for line in self._lines.values() if line.entries)

    def _count(self, line: _Line, entry: Entry, one: int) -> None:
        line.cost += one * entry.cost
        self.cost += one * entry.cost
        self.count += one

    def _forget(self) -> None:
        """Keep of clients without waiting work only those that are ahead of the others, and not too many."""
        if len(self._lines) <= _MOST_REMEMBERED:
            return
        idle = [client for client, line in self._lines.items() if not line.entries]
        gone = [client for client in idle if self._lines[client].start <= self._now]
        for client in gone or idle[: len(idle) // 2]:
            del self._lines[client]
