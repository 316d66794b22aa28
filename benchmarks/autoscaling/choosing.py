"""Which settings keep the objective on all traces, and what they cost beside those of somebody who knows the future."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.autoscaling import hpa, keda
from benchmarks.autoscaling.traces import TRACES, Floats, Trace
from benchmarks.autoscaling.trying import LEAST, MOST, START_S, Fixed, Planned, Result, Scaled, run
from benchmarks.capacity.profile import Profile
from benchmarks.capacity.stack import ROLES, Layout

BAR: Final = 1.3
"""Replica-hours over the oracle's that chosen settings may take."""


def needed(profile: Profile, rates: Floats, load: float) -> dict[str, Floats]:
    """Replicas of each role for some rates, with cores no busier than `load`."""
    layout = Layout()
    return {
        role: np.maximum(LEAST, np.ceil(rates * seconds / (layout.roles[role].cores * load) - 1e-9))
        for role, seconds in profile.role_s().items()
    }


def oracle(
    profile: Profile, trace: Trace, *, seed: int = 1, start_s: Mapping[str, float] = START_S
) -> tuple[Result, float]:
    """The fewest replicas, minute by minute, that keep the objective, and how busy they are; knows what will come.

    In each minute there are as many as its fields need at one and the same load of the cores, and while one is lost
    one more; the highest load at which the objective is kept is found by bisection.
    """
    arrivals = trace.arrivals(seed)
    counts, _ = np.histogram(arrivals, bins=np.arange(0, trace.seconds + 60, 60))
    low, high, best = 0.3, 1.0, None
    while high - low > 0.02:
        load = (low + high) / 2
        plan = needed(profile, counts / 60, load)
        for at_s, role in trace.lost:
            # One more until the lost one is replaced.
            minute = int(at_s // 60)
            plan[role][minute : minute + 2] += 1
        first = {role: int(each[0]) for role, each in plan.items()}
        result = run(profile, trace, Planned(plan, start_s), first, seed=seed, start_s=start_s)
        if result.holds:
            low, best = load, (result, load)
        else:
            high = load
    if best is None:
        raise ValueError(f"trace: {trace.title}; no load of the cores keeps the objective")
    return best


KINDS: Final = {
    "fixed": "no autoscaling, as many as the busiest minute needs",
    "cpu": "HPA: processors at {load:.0%}",
    "queue": "KEDA: {load:g} requests waiting in each Triton, services by work in flight",
    "work": "KEDA: work in flight as at {load:.0%} load",
    "mixed": "KEDA: Triton by its work as at {load:.0%} load, services by processors",
    "both": "KEDA: processors at {load:.0%}, and Triton's work as at {guard:.0%} load",
}
"""What is tried, in words."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Settings to try.

    Attributes:
        kind: see `KINDS`.
        load: how busy cores are to be, 0 to 1, which thresholds are made of; for `queue`, requests that wait.
        down_s: the window in which the most replicas that were wanted count before there are fewer.
        refusals: whether refusals bring gateways.
    """

    kind: str
    load: float
    down_s: float
    refusals: bool = False

    @property
    def name(self) -> str:
        """In words."""
        words = KINDS[self.kind].format(load=self.load, guard=GUARD)
        if self.kind == "fixed":
            return words
        return f"{words}{', gateways by refusals too' if self.refusals else ''}, down after {self.down_s:.0f} s"


def thresholds(profile: Profile, load: float) -> dict[str, float]:
    """Work that each replica has when its cores are so busy: Little's law, with the times that fields take.

    In Triton what is at work counts; before it, what a caller holds until it is done, those whom it calls included.
    What waits is not in the threshold, so that more replicas are wanted as soon as anything waits for long.
    """
    layout, own = Layout(), profile.role_s()
    behind = {"gateway": ROLES, "detector": ROLES[1:3], "classifier": ROLES[3:]}
    found = {}
    for role in ROLES:
        a_second = load * layout.roles[role].cores / own[role]
        held_s = sum(own[each] for each in behind.get(role, (role,)))
        found[role] = round(a_second * held_s, 2)
    return found


def _behavior(candidate: Candidate) -> hpa.Behavior:
    """Up as Kubernetes does by itself; down by half a minute."""
    down = hpa.Rules(candidate.down_s, (hpa.Policy(hpa.PolicyType.PERCENT, 50, 60.0),))
    return hpa.Behavior(down=down)


def specs(profile: Profile, candidate: Candidate) -> dict[str, keda.ScaledObject]:
    """The ScaledObject of each role."""
    in_flight = thresholds(profile, 0.7 if candidate.kind == "queue" else candidate.load)
    found = {}
    for role, pods in Layout().roles.items():
        triton = role.startswith("triton")
        cores = round(candidate.load * pods.cores, 2)
        triggers: list[keda.Trigger] = []
        if candidate.kind == "queue" and triton:
            triggers.append(keda.Trigger("queue", candidate.load))
        elif candidate.kind in ("queue", "work") or (candidate.kind == "mixed" and triton):
            triggers.append(keda.Trigger("work" if triton else "in-flight", in_flight[role]))
        elif candidate.kind == "both" and triton:
            triggers.append(keda.Trigger("work", GUARD * pods.cores))
        by_cores = candidate.kind in ("cpu", "both") or (candidate.kind == "mixed" and not triton)
        if candidate.refusals and role == "gateway":
            triggers.append(keda.Trigger("refused", REFUSALS))
        found[role] = keda.ScaledObject(
            tuple(triggers),
            cores if by_cores else None,
            min_replica_count=LEAST,
            max_replica_count=MOST,
            polling_interval_s=15.0,
            fallback=keda.Fallback(4, LEAST, keda.Failing.CURRENT_IF_HIGHER) if triggers else None,
            behavior=_behavior(candidate),
        )
    return found


REFUSALS: Final = 1.0
"""Refusals a second, for each gateway, beyond which another one is wanted."""

GUARD: Final = 1.0
"""Load at which what is in Triton brings more of them where processors do so before: beyond it, requests wait."""


def try_one(
    profile: Profile,
    trace: Trace,
    candidate: Candidate,
    *,
    seed: int = 1,
    start_s: Mapping[str, float] = START_S,
) -> Result:
    """A candidate on a trace; it begins as somebody would begin it who knows the first rate."""
    rates = trace.rate(np.arange(0, trace.seconds, 60.0))
    first = {
        role: int(each[0]) for role, each in needed(profile, rates[:1], min(candidate.load, 0.7)).items()
    }
    if candidate.kind == "fixed":
        first = {role: int(each.max()) for role, each in needed(profile, rates, candidate.load).items()}
    autoscaler = Fixed() if candidate.kind == "fixed" else Scaled(specs(profile, candidate))
    return run(profile, trace, autoscaler, first, seed=seed, start_s=start_s)


CANDIDATES: Final = (
    Candidate("fixed", 0.8, 0),
    *(Candidate("cpu", load, 300) for load in (0.8, 0.7, 0.6)),
    Candidate("queue", 0.3, 300),
    *(Candidate("work", load, 300) for load in (0.8, 0.7)),
    *(Candidate("mixed", load, down_s) for load, down_s in ((0.8, 300), (0.75, 300), (0.7, 300), (0.7, 120))),
)


def table(profile: Profile) -> dict[str, Any]:
    """All candidates on all traces, and the oracle; the chosen one has the fewest replica-hours of those that hold."""
    oracles = {name: oracle(profile, trace) for name, trace in TRACES.items()}
    rows = []
    for candidate in CANDIDATES:
        results = {name: try_one(profile, trace, candidate) for name, trace in TRACES.items()}
        ratios = {
            name: result.replica_hours / oracles[name][0].replica_hours for name, result in results.items()
        }
        rows.append(
            {
                "name": candidate.name,
                "kind": candidate.kind,
                "load": candidate.load,
                "down_s": candidate.down_s,
                "holds": all(result.holds for result in results.values()),
                "worst_ratio": round(max(ratios.values()), 3),
                "traces": {
                    name: result.figures() | {"ratio": round(ratios[name], 3)}
                    for name, result in results.items()
                },
            }
        )
    return {
        "oracle": {
            name: result.figures() | {"load": round(load, 3)} for name, (result, load) in oracles.items()
        },
        "rows": rows,
        "chosen": chosen(rows)["name"],
    }


def chosen(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of the fewest replica-hours, over the oracle's, that keeps the objective on all traces.

    Raises:
        ValueError: none does.
    """
    good = [row for row in rows if row["holds"] and row["kind"] in ("work", "queue", "mixed")]
    if not good:
        raise ValueError("rows: no candidate keeps the objective on all traces")
    return min(good, key=lambda row: float(row["worst_ratio"]))
