"""How many pods, and cores, so many fields a second take."""

import math
from typing import Any, Final

from benchmarks.capacity.calls import Outcome, open_loop
from benchmarks.capacity.profile import Profile
from benchmarks.capacity.stack import Layout
from benchmarks.peers.callers import OK

RATES: Final = (1, 3, 10, 30, 100, 300, 1000, 3000, 10_000)
"""Fields a second."""

WITHIN_S: Final = 1.0
SHARE: Final = 0.99
"""The objective: so many of the fields answered within so many seconds; that of small images, see the SLOs."""

GATEWAY_FIELDS: Final = 32
"""Fields that a gateway lets in at one time where it has pods behind it: its default is for two cores in all."""

_LOADS: Final = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)
_FIELDS: Final = (1500, 20_000)
"""Least and most fields to simulate."""


def pods_for(profile: Profile, rate: float, load: float, least: int = 1) -> Layout:
    """As many pods as keep the cores of each role no busier than `load`, 0 to 1."""
    layout = Layout(fields_at_once=GATEWAY_FIELDS)
    for role, seconds in profile.role_s().items():
        # An event loop has one core at most, and so has whatever waits for it.
        cores = layout.roles[role].cores
        layout = layout.with_replicas(role, max(least, math.ceil(rate * seconds / (cores * load) - 1e-9)))
    return layout


def kept(outcome: Outcome) -> float:
    """Share of all calls that were answered in time."""
    good = sum(call.outcome == OK and call.seconds <= WITHIN_S for call in outcome.calls)
    return good / max(1, len(outcome.calls))


def size(profile: Profile, rate: float) -> dict[str, Any]:
    """The fewest pods, all roles equally busy, with which the objective is kept at this rate."""
    seconds = min(max(_FIELDS[0] / rate, 1.5), _FIELDS[1] / rate)
    tried: Layout | None = None
    for load in _LOADS:
        layout = pods_for(profile, rate, load)
        if layout == tried:
            continue
        tried = layout
        outcome = open_loop(profile, layout, rate, seconds, warm_up_s=min(1.0, seconds / 4))
        if kept(outcome) >= SHARE:
            return {
                "rate": rate,
                "load": load,
                "replicas": {role: pods.replicas for role, pods in layout.roles.items()},
                "cores": layout.all_cores,
                "cores_busy": round(rate * profile.field_s(), 1),
                "fields": len(outcome.calls),
                "kept": round(kept(outcome), 4),
                **{f"p{share}_ms": round(outcome.latency_ms(share), 1) for share in (50, 90, 99)},
                "busy": {role: round(share, 3) for role, share in outcome.busy.items()},
            }
    raise ValueError(f"rate: {rate} fields a second; the objective was kept at no load of {_LOADS}")


def one_machine(profile: Profile, cores: int, shares: tuple[float, ...]) -> list[dict[str, float]]:
    """Latencies of the whole stack on one machine, at shares of what its cores can do."""
    machine = Layout(shared_cores=cores)
    most = cores / (profile.field_s() + profile.client_s)
    rows = []
    for share in shares:
        outcome = open_loop(profile, machine, share * most, 1500 / (share * most))
        rows.append(
            {"rate": round(share * most, 2)}
            | {f"p{point}_ms": round(outcome.latency_ms(point), 1) for point in (50, 90, 99)}
        )
    return rows
