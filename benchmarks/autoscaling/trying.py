"""Settings tried on traces: what was kept of the objective, and what it cost."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np

from benchmarks.autoscaling import hpa, keda
from benchmarks.autoscaling.cluster import WINDOW_S, Cluster
from benchmarks.autoscaling.traces import Floats, Trace
from benchmarks.capacity.profile import Profile
from benchmarks.capacity.sizing import SHARE, WITHIN_S
from benchmarks.capacity.stack import ROLES, Layout

SCRAPE_S: Final = 15.0
"""Prometheus' scrape interval: what an autoscaler is told is up to so old, and its rates are of the time before."""

LEAST: Final = 2
"""Replicas of each role that there always are, so that losing one loses nothing; the oracle's floor too."""

MOST: Final = 8
"""Half as many again as the busiest minute of any trace needs: an autoscaler that overshoots stops there."""

START_S: Final = {
    "gateway": 15.0,
    "detector": 15.0,
    "triton-detection": 25.0,
    "classifier": 15.0,
    "triton-classification": 25.0,
}
"""From when a pod is asked for until it works: about 5 s to schedule it and begin its container, whose image its node
has, what was measured for it to be ready (docs/footprint.md: the whole stack 5 s alone, up to 16 s beside other work),
and 2 s until its probe and its callers notice."""

CORE_HOUR: Final = 0.04
"""Price of a core for an hour, in dollars: about what clouds ask for one with its memory, without a discount."""


class Autoscaler(Protocol):
    """What decides how many replicas there are, every fifteen seconds."""

    def decide(self, now_s: float, cluster: Cluster) -> Mapping[str, int]:
        """Replicas to ask for, by role."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of settings on a trace.

    Attributes:
        kept: share of all fields that were answered in time.
        worst: that share in the worst five minutes.
        p99_ms: latency of the answered ones.
        refused: share of all fields.
        replica_hours: of all roles together.
        core_hours: of all roles together.
    """

    kept: float
    worst: float
    p99_ms: float
    refused: float
    replica_hours: float
    core_hours: float

    @property
    def holds(self) -> bool:
        """Whether the objective is kept."""
        return self.kept >= SHARE

    def figures(self) -> dict[str, Any]:
        """For a table."""
        return {
            "kept": round(self.kept, 5),
            "worst_five_minutes": round(self.worst, 4),
            "p99_ms": round(self.p99_ms, 1),
            "refused": round(self.refused, 5),
            "replica_hours": round(self.replica_hours, 2),
            "core_hours": round(self.core_hours, 2),
            "dollars": round(self.core_hours * CORE_HOUR, 2),
        }


def run(
    profile: Profile,
    trace: Trace,
    autoscaler: Autoscaler,
    first: Mapping[str, int],
    *,
    seed: int = 1,
    start_s: Mapping[str, float] = START_S,
) -> Result:
    """A trace with an autoscaler.

    Args:
        first: replicas at the beginning.
    """
    arrivals = trace.arrivals(seed)
    cluster = Cluster(profile, start_s, trace.seconds, first, seed)
    windows = math.ceil(trace.seconds / WINDOW_S)
    bounds = np.searchsorted(arrivals, np.arange(windows + 1) * WINDOW_S)
    lost = list(trace.lost)
    for window in range(windows):
        now_s = window * WINDOW_S
        while lost and lost[0][0] <= now_s:
            _, role = lost.pop(0)
            pool = cluster.pools[role]
            wanted = pool.replicas
            pool.lose(now_s)
            pool.scale(wanted, now_s + start_s[role])  # the Deployment replaces it
        if window and now_s % hpa.SYNC_PERIOD_S == 0:
            for role, count in autoscaler.decide(now_s, cluster).items():
                cluster.pools[role].scale(count, now_s + start_s[role])
        cluster.run(window, arrivals[bounds[window] : bounds[window + 1]], WITHIN_S)
    return _result(cluster)


def _result(cluster: Cluster) -> Result:
    layout = Layout()
    latencies = np.concatenate(cluster.latencies)
    good, asked = np.array(cluster.in_time).T
    window = int(300 / WINDOW_S)
    kernel = np.ones(window)
    recent = np.convolve(asked, kernel, "valid")
    worst = np.convolve(good, kernel, "valid")[recent > 0] / recent[recent > 0]
    return Result(
        kept=float(good.sum() / asked.sum()),
        worst=float(worst.min()),
        p99_ms=float(1000 * np.percentile(latencies, 99)),
        refused=float(cluster.refused.sum() / asked.sum()),
        replica_hours=sum(cluster.replica_s.values()) / 3600,
        core_hours=sum(layout.roles[role].cores * spent for role, spent in cluster.replica_s.items()) / 3600,
    )


@dataclass
class Fixed:
    """No autoscaler: what there is, remains."""

    def decide(self, now_s: float, cluster: Cluster) -> Mapping[str, int]:  # noqa: ARG002
        """Nothing to change."""
        return {}


@dataclass
class Planned:
    """Somebody who knows the future: so many replicas in each minute, asked for so early that they work then."""

    minutes: Mapping[str, Floats]
    start_s: Mapping[str, float]

    def decide(self, now_s: float, cluster: Cluster) -> Mapping[str, int]:  # noqa: ARG002
        """What this moment needs, and what the one needs at which a pod that is asked for now works."""
        wanted = {}
        for role, counts in self.minutes.items():
            ahead_s = now_s + math.ceil(self.start_s[role] / hpa.SYNC_PERIOD_S) * hpa.SYNC_PERIOD_S
            minutes = counts[int(now_s // 60) : int(ahead_s // 60) + 1]
            wanted[role] = int(minutes.max()) if len(minutes) else LEAST
        return wanted


def _lately(values: Floats, now_s: float, seconds: float) -> Floats:
    """The windows of so many seconds before the last scrape."""
    scraped = int(now_s // SCRAPE_S * SCRAPE_S / WINDOW_S)
    return values[max(0, scraped - int(seconds / WINDOW_S)) : max(1, scraped)]


def _inside(cluster: Cluster, role: str, now_s: float) -> float:
    """What is with a role at the last scrape. A caller holds what is with those whom it calls."""
    places = {"gateway": ROLES, "detector": ROLES[1:3], "classifier": ROLES[3:]}.get(role, (role,))
    return float(sum(_lately(cluster.seen[place].inside, now_s, SCRAPE_S)[-1] for place in places))


def _rate(name: str, window_s: float) -> Callable[[Cluster, str, float], float]:
    def read(cluster: Cluster, role: str, now_s: float) -> float:
        return float(_lately(getattr(cluster.seen[role], name), now_s, window_s).sum() / window_s)

    return read


SIGNALS: Final[Mapping[str, Callable[[Cluster, str, float], float]]] = {
    "in-flight": _inside,
    "work": _rate("stayed_s", 60.0),
    "queue": _rate("queued_s", 60.0),
    "refused": lambda cluster, _, now_s: float(_lately(cluster.refused, now_s, 60.0).sum() / 60.0),
}
"""What a trigger reads of a role at the last scrape, summed over its replicas; named as in `queries.QUERIES`."""


def _pods(cluster: Cluster, role: str, now_s: float) -> list[hpa.PodMetric]:
    """Cores that each pod used in the minute up to the last scrape, which is what the metrics server has."""
    pool = cluster.pools[role]
    value = pool.cores * float(np.mean(_lately(cluster.seen[role].busy, now_s, 60.0)))
    # A pod counts once it was ready before the figures' last moment.
    seen = [ready_s <= now_s - SCRAPE_S for ready_s in pool.ready_s]
    return [hpa.PodMetric(value if ready else None, ready=ready) for ready in seen]


@dataclass
class Scaled:
    """A ScaledObject of each role."""

    specs: Mapping[str, keda.ScaledObject]
    _scalers: dict[str, keda.Scaler] = field(default_factory=dict)

    def decide(self, now_s: float, cluster: Cluster) -> Mapping[str, int]:
        """What they say."""
        wanted = {}
        for role, spec in self.specs.items():
            scaler = self._scalers.setdefault(role, keda.Scaler(spec))
            current = cluster.pools[role].replicas
            readings = {
                trigger.name: SIGNALS[trigger.name](cluster, role, now_s) for trigger in spec.triggers
            }
            if now_s % spec.polling_interval_s == 0:
                current = scaler.poll(now_s, current, readings)
            wanted[role] = scaler.sync(now_s, current, readings, _pods(cluster, role, now_s))
        return wanted
