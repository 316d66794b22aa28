"""What the simulation says of the loads that were measured, beside what was measured."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from benchmarks.capacity.calls import Outcome, closed_loop, open_loop
from benchmarks.capacity.profile import Profile, profile_of
from benchmarks.capacity.stack import Layout

_SEEDS: Final = (1, 2, 3)
_SECONDS: Final = 60.0
_STEPS: Final = 7


def fitted(measured: Mapping[str, Any]) -> Profile:
    """The profile, with the one thing that was fitted: that one caller alone waits as long as it did.

    Where the work on a field, done piece by piece, takes longer than that, some of it is done aside; where it takes
    less, messages take longer.
    """
    profile = profile_of(measured)
    (alone,) = (run for run in measured["runs"] if (run["load"], run["how_much"]) == ("closed", 1))

    def p50_ms(candidate: Profile) -> float:
        return simulated(candidate, alone, seconds=20.0).latency_ms(50)

    wanted = alone["latency_ms"]["p50"]
    too_slow = p50_ms(profile) > wanted

    def makes(share: float) -> Profile:
        if too_slow:
            return replace(profile, aside=share)
        return replace(profile, hop_s=profile.hop_s + 0.02 * (1 - share))

    low, high = 0.0, 1.0  # the larger, the less one waits
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if p50_ms(makes(middle)) > wanted else (low, middle)
    return makes((low + high) / 2)


def simulated(
    profile: Profile, run: Mapping[str, Any], *, seconds: float = _SECONDS, seed: int = 1
) -> Outcome:
    """A load that was measured, on the machine that it was measured on, and as disturbed and as fast as that was then.

    What a field takes of the processors is not the same from one run to the next (caches, and what the machine's host
    does): each run tells by how much.
    """
    spent_s = sum(run["cpu_ms_per_field"].values()) / 1000
    profile = profile.times(spent_s / (profile.field_s() + profile.client_s))
    layout = Layout(shared_cores=2)
    others = run.get("others", 0.0)
    if run["load"] == "closed":
        return closed_loop(profile, layout, int(run["how_much"]), seconds, seed=seed, others=others)
    return open_loop(
        profile, layout, run["how_much"], run["seconds"], seed=seed, others=others, warm_up_s=0.0
    )


def compare(measured: Mapping[str, Any], profile: Profile) -> list[dict[str, Any]]:
    """For each load: throughput and latencies, measured and simulated, and the error of the latter over the former."""
    rows = []
    for run in measured["runs"]:
        outcomes = [simulated(profile, run, seed=seed) for seed in _SEEDS]
        # In an open loop what is answered a second is what was asked for: there is nothing to predict.
        said = {"throughput": run["throughput"]} if run["load"] == "closed" else {}
        said |= {f"p{share}_ms": run["latency_ms"][f"p{share}"] for share in (50, 90, 99)}
        found = {
            name: float(
                np.mean(
                    [
                        outcome.throughput if name == "throughput" else outcome.latency_ms(int(name[1:-3]))
                        for outcome in outcomes
                    ]
                )
            )
            for name in said
        }
        rows.append(
            {
                "load": run["load"],
                "how_much": run["how_much"],
                "calls": run["calls"],
                "others": run["others"],
                "measured": said,
                "simulated": {name: round(value, 2) for name, value in found.items()},
                "error": {name: round(value / said[name] - 1, 3) for name, value in found.items()},
            }
        )
    return rows
