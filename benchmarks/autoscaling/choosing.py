"""Which settings keep the objective on all traces, and what they cost beside those of somebody who knows the future."""

from collections.abc import Collection, Mapping, Sequence
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

SEEDS: Final = (1, 2, 3)
"""Of the arrivals that settings are chosen by; the worst of them counts."""

OTHER_SEEDS: Final = (4, 5, 6)
"""Of arrivals that chosen settings are tried on afterwards."""


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

KEDA: Final = ("mixed", "both", "work", "queue")
"""Kinds with signals that lead."""


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

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Candidate":
        """That of a row of the table."""
        return cls(row["kind"], row["load"], row["down_s"], row["refusals"])

    @property
    def name(self) -> str:
        """In words."""
        words = KINDS[self.kind].format(load=self.load, guard=GUARD)
        if self.kind == "fixed":
            return words
        return (
            f"{words}{', gateways by refusals too' if self.refusals else ''}, down after {self.down_s:.0f} s"
        )


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
    found = {}
    for role, pods in Layout().roles.items():
        triggers = _triggers(profile, candidate, role)
        by_cores = candidate.kind in ("cpu", "both") or (candidate.kind == "mixed" and not _is_triton(role))
        found[role] = keda.ScaledObject(
            triggers,
            round(candidate.load * pods.cores, 2) if by_cores else None,
            min_replica_count=LEAST,
            max_replica_count=MOST,
            polling_interval_s=15.0,
            fallback=keda.Fallback(4, LEAST, keda.Failing.CURRENT_IF_HIGHER) if triggers else None,
            behavior=_behavior(candidate),
        )
    return found


def _triggers(profile: Profile, candidate: Candidate, role: str) -> tuple[keda.Trigger, ...]:
    """Those of Prometheus. Triton always tells its times: where there are none, Prometheus does not see it."""
    kind, load = candidate.kind, candidate.load
    found = []
    if _is_triton(role) and kind == "queue":
        found.append(keda.Trigger("queue", load, ignores_null=False))
    elif _is_triton(role) and kind in ("work", "mixed", "both"):
        work = thresholds(profile, GUARD if kind == "both" else load)[role]
        found.append(keda.Trigger("work", work, ignores_null=False))
    elif kind in ("work", "queue"):
        found.append(keda.Trigger("in-flight", thresholds(profile, load if kind == "work" else 0.7)[role]))
    if candidate.refusals and role == "gateway":
        found.append(keda.Trigger("refused", REFUSALS))
    return tuple(found)


def _is_triton(role: str) -> bool:
    return role.startswith("triton")


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
    *(Candidate("cpu", load, down_s) for load, down_s in ((0.8, 300), (0.8, 120), (0.7, 300), (0.6, 300))),
    Candidate("queue", 0.3, 300),
    Candidate("work", 0.7, 300),
    *(Candidate("mixed", load, 120, refusals=True) for load in (0.8, 0.7)),
    Candidate("both", 0.8, 120),
    *(
        Candidate("both", load, down_s, True)
        for load, down_s in ((0.85, 120), (0.8, 120), (0.8, 300), (0.7, 300))
    ),
)


@dataclass(frozen=True, slots=True)
class Draw:
    """What came of one draw of all arrivals.

    Attributes:
        oracles: by trace: the oracle's result, and how busy its cores are.
        results: of each candidate by trace.
    """

    oracles: Mapping[str, tuple[Result, float]]
    results: Mapping[Candidate, Mapping[str, Result]]


def draw(profile: Profile, seed: int) -> Draw:
    """All candidates on all traces, and the oracle."""
    return Draw(
        {name: oracle(profile, trace, seed=seed) for name, trace in TRACES.items()},
        {
            candidate: {name: try_one(profile, trace, candidate, seed=seed) for name, trace in TRACES.items()}
            for candidate in CANDIDATES
        },
    )


def table(draws: Sequence[Draw]) -> dict[str, Any]:
    """The worst of all draws for each candidate."""
    rows = []
    for candidate in CANDIDATES:
        traces = {}
        for name in TRACES:
            results = [each.results[candidate][name] for each in draws]
            ratios = [
                each.results[candidate][name].replica_hours / each.oracles[name][0].replica_hours
                for each in draws
            ]
            traces[name] = worst(results) | {"ratio": round(max(ratios), 3)}
        rows.append(
            {
                "name": candidate.name,
                "kind": candidate.kind,
                "load": candidate.load,
                "down_s": candidate.down_s,
                "refusals": candidate.refusals,
                "holds": all(each.results[candidate][name].holds for each in draws for name in TRACES),
                "worst_ratio": max(each["ratio"] for each in traces.values()),
                "traces": traces,
            }
        )
    oracles = {
        name: worst([each.oracles[name][0] for each in draws])
        | {"load": round(min(each.oracles[name][1] for each in draws), 3)}
        for name in TRACES
    }
    return {"seeds": len(draws), "oracle": oracles, "rows": rows}


def worst(results: Sequence[Result]) -> dict[str, Any]:
    """Of each figure the worst."""
    figures = [result.figures() for result in results]
    good = ("kept", "worst_five_minutes")
    return {name: (min if name in good else max)(each[name] for each in figures) for name in figures[0]}


def chosen(rows: Sequence[dict[str, Any]], kinds: Collection[str]) -> dict[str, Any]:
    """The row of these kinds with the fewest replica-hours, over the oracle's, that keeps the objective on all traces.

    Of equals that which keeps more. Of KEDA's one that sees refusals: the gateways that are simulated have no limit but
    their processors, and where real ones are full before their processors are busy, nothing else tells.

    Raises:
        ValueError: none does.
    """
    good = [
        row
        for row in rows
        if row["holds"] and row["kind"] in kinds and (row["refusals"] or row["kind"] not in KEDA)
    ]
    if not good:
        raise ValueError("rows: no candidate keeps the objective on all traces")
    return min(
        good, key=lambda row: (row["worst_ratio"], -sum(each["kept"] for each in row["traces"].values()))
    )


def checked(profile: Profile, candidates: Sequence[Candidate]) -> dict[str, dict[str, float]]:
    """The least that settings keep on each trace with arrivals that they were not chosen by."""
    return {
        candidate.name: {
            name: min(round(try_one(profile, trace, candidate, seed=seed).kept, 5) for seed in OTHER_SEEDS)
            for name, trace in TRACES.items()
        }
        for candidate in candidates
    }
