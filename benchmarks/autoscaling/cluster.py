"""Pods that come and go under a trace's load, and what an autoscaler can see of them.

Each core of a pod is a server with a queue, fields go round the pods, and waits follow Lindley's recursion (The theory
of queues with a single server, 1952) for whole windows of fields at once, which is exact for queues in order of arrival
and fast enough for days of load. `benchmarks.capacity` simulates the same stack field by field, with the services' own
schedulers. The recursion is tested; the two simulations were not compared with each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.autoscaling.traces import Floats
from benchmarks.capacity.profile import Profile
from benchmarks.capacity.stack import ROLES, Layout

WINDOW_S: Final = 5.0
"""What is simulated at once; pods come and go between two windows."""

DEADLINE_S: Final = 3.0
"""Of each field: who cannot be answered within it is refused at the door."""


class Pool:
    """The pods of one role, in the order in which they began to work.

    Args:
        seconds: what a field takes of a core.
        cores: of each pod.
        relative: quantiles of that time over its mean.
    """

    def __init__(self, seconds: float, cores: int, relative: tuple[float, ...]) -> None:
        self.seconds = seconds
        self.cores = cores
        self.relative = np.array(relative)
        self.ready_s = np.empty(0)
        self._free_s = np.empty((0, cores))

    @property
    def replicas(self) -> int:
        """How many were asked for and are not gone."""
        return len(self.ready_s)

    def ready(self, now_s: float) -> int:
        """How many work."""
        return int(np.searchsorted(self.ready_s, now_s, side="right"))

    def scale(self, replicas: int, ready_s: float) -> None:
        """Ask for so many: further ones come later; of too many those go first that do not work yet, then the newest.

        Args:
            ready_s: when what is begun now works.
        """
        new = max(0, replicas - self.replicas)
        order = np.argsort(np.append(self.ready_s, [ready_s] * new), kind="stable")[:replicas]
        self.ready_s = np.append(self.ready_s, [ready_s] * new)[order]
        self._free_s = np.concatenate([self._free_s, np.full((new, self.cores), ready_s)])[order]

    def lose(self, now_s: float) -> None:
        """A pod that works is gone at once, and what it was to do is done by the others."""
        left_s = float(np.clip(self._free_s[0] - now_s, 0, None).sum())
        self.ready_s, self._free_s = self.ready_s[1:], self._free_s[1:]
        others = self._free_s[: self.ready(now_s)]
        others[:] = np.maximum(others, now_s) + left_s / max(1, others.size)

    def work(self, arrivals: Floats, now_s: float, chance: np.random.Generator) -> tuple[Floats, float]:
        """When what arrives in a window is done, in order of arrival, and the processor seconds that it takes."""
        count, working = len(arrivals), self.ready(now_s)
        if not count:
            return arrivals, 0.0
        if not working:
            return np.full(count, np.inf), 0.0
        steps = np.linspace(0, 1, len(self.relative))
        took = self.seconds * np.interp(chance.random(count), steps, self.relative)
        # Core by core over the pods, so that the pods take turns; who is free first has the first turn.
        free = self._free_s[:working].T.ravel()
        order = np.argsort(free, kind="stable")
        done, free[order] = lindley(arrivals, took, free[order])
        self._free_s[:working] = free.reshape(self.cores, working).T
        return done, float(took.sum())

    def backlog_s(self, now_s: float) -> float:
        """How long what comes now waits, about; for ever where nothing works."""
        working = self._free_s[: self.ready(now_s)]
        return float(np.clip(working - now_s, 0, None).mean()) if working.size else np.inf


def lindley(arrivals: Floats, took: Floats, free: Floats) -> tuple[Floats, Floats]:
    """When each of some fields is done by servers that take turns, and when each server is free then.

    A server is done with its n-th field at S(n) + max(free, max over j <= n of (a(j) - S(j - 1))), where S sums what
    its fields take: Lindley's recursion, solved.
    """
    count, servers = len(arrivals), len(free)
    rounds = -(-count // servers)
    room = rounds * servers
    came = np.full(room, -np.inf)
    came[:count] = arrivals
    takes = np.zeros(room)
    takes[:count] = took
    came, takes = came.reshape(rounds, servers), takes.reshape(rounds, servers)
    sums = np.cumsum(takes, axis=0)
    begun = np.maximum(free, np.maximum.accumulate(came - (sums - takes), axis=0))
    done = sums + begun
    return done.ravel()[:count], done[-1]


@dataclass
class Seen:
    """What Prometheus would have of one role, window by window.

    Attributes:
        inside: fields that are with it at the window's end.
        queued_s: growth of the time that fields which were done waited.
        stayed_s: growth of the time that they were with it, waiting or at work.
        busy: share of its cores that were at work.
    """

    inside: Floats
    queued_s: Floats
    stayed_s: Floats
    busy: Floats

    @classmethod
    def nothing(cls, windows: int) -> "Seen":
        """Before anything came."""
        return cls(*(np.zeros(windows) for _ in range(4)))


class Cluster:
    """All pools.

    Args:
        start_s: from when a pod is asked for until it works, by role.
    """

    def __init__(
        self,
        profile: Profile,
        start_s: Mapping[str, float],
        seconds: float,
        replicas: Mapping[str, int],
        seed: int,
    ) -> None:
        layout = Layout()
        self.chance = np.random.default_rng(seed)
        self.start_s = start_s
        self.pools = {
            role: Pool(seconds_, layout.roles[role].cores, profile.relative)
            for role, seconds_ in profile.role_s().items()
        }
        windows = int(np.ceil(seconds / WINDOW_S)) + 1
        self.seen = {role: Seen.nothing(windows + 1) for role in ROLES}
        self.refused = np.zeros(windows + 1)
        self.replica_s = dict.fromkeys(ROLES, 0.0)
        self.latencies: list[Floats] = []
        self.in_time: list[tuple[int, int]] = []
        self._base_s = 8 * profile.hop_s
        # What is on its way to each role: when it arrives there, and when it came to the door.
        self._coming = {role: np.empty((2, 0)) for role in (*ROLES, "done")}
        for role, pool in self.pools.items():
            pool.scale(replicas[role], 0.0)

    def run(self, window: int, arrivals: Floats, within_s: float) -> None:
        """One window: `arrivals` come to the door in it."""
        now_s, end_s = window * WINDOW_S, (window + 1) * WINDOW_S
        admitted = self._admit(arrivals, now_s)
        self.refused[window] = len(arrivals) - len(admitted)
        came = np.stack([admitted, admitted]) if len(admitted) else np.empty((2, 0))
        for place, role in enumerate(ROLES):
            after = ROLES[place + 1] if place + 1 < len(ROLES) else "done"
            came = self._work(role, came, now_s, end_s)
            waiting = np.concatenate([self._coming[after], came], axis=1)
            waiting = waiting[:, np.argsort(waiting[0], kind="stable")]
            due = int(np.searchsorted(waiting[0], end_s))
            came, self._coming[after] = waiting[:, :due], waiting[:, due:]
            self.seen[role].inside[window] = waiting.shape[1] - due
        latencies = came[0] - came[1] + self._base_s
        self.latencies.append(latencies.astype(np.float32))
        good = int(np.count_nonzero(latencies <= within_s))
        self.in_time.append((good, len(latencies) + int(self.refused[window])))
        for role, pool in self.pools.items():
            self.replica_s[role] += WINDOW_S * pool.replicas

    def _admit(self, arrivals: Floats, now_s: float) -> Floats:
        """Those of some fields that can be done by their deadline; of too many, an even share."""
        if not len(arrivals):
            return arrivals
        wait_s = sum(pool.backlog_s(now_s) for pool in self.pools.values())
        a_second = min(pool.ready(now_s) * pool.cores / pool.seconds for pool in self.pools.values())
        room = a_second * max(0.0, WINDOW_S + DEADLINE_S - wait_s)
        if len(arrivals) <= room:
            return arrivals
        return arrivals[np.sort(self.chance.permutation(len(arrivals))[: int(room)])]

    def _work(self, role: str, came: Floats, now_s: float, end_s: float) -> Floats:
        pool, seen = self.pools[role], self.seen[role]
        done, busy_s = pool.work(came[0], now_s, self.chance)
        working = max(1, pool.ready(now_s))
        window = int(now_s / WINDOW_S)
        if len(done):
            stayed = done - came[0]
            finite = np.isfinite(done)
            at = np.minimum((done[finite] / WINDOW_S).astype(int), len(seen.stayed_s) - 1)
            np.add.at(seen.stayed_s, at, stayed[finite])
            np.add.at(seen.queued_s, at, np.clip(stayed[finite] - pool.seconds, 0, None))
        seen.busy[window] = min(1.0, busy_s / (working * pool.cores * (end_s - now_s)))
        return np.stack([done, came[1]])
