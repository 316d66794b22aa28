"""What becomes of a stack that is asked for several times what it can do. `python -m benchmarks.overload`

Starts a stack (or takes --address of one on this machine), and asks it to analyse generated fields: STAT fields alone,
one after another; then in turns, --rounds of them, as fast as it answers (closed loop), which gives its peak, and at
--times its peak (open loop: nothing waits for an answer before asking again), with STAT, routine and batch calls of
several clients and a deadline each. All load comes from a process of its own, whose time on the processors is reported
too: on a machine that it shares with the stack, what it takes the stack does not have, and it takes more when it asks
for more. Work done is therefore told both as it was seen and for each processor second that the load left to the stack.

What is reported: goodput (fields answered before their deadline, a second) under overload against its peak, medians of
the rounds; the share of accepted calls that kept their deadline; how long STAT takes against when it is alone, in full
and in batches; how resident memory moved; and what refusing a call costs in processor time against serving one. A
refusal's time is what the gateway spends beyond what it spends on the calls that it serves, as measured at the peak.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks import images
from benchmarks.call_load import MIX, Call, Load, Plan, closed_loop, generate, open_loop, stat_alone
from benchmarks.claims import claim
from benchmarks.footprint import PROFILES, groups, stack
from benchmarks.machine import facts
from benchmarks.peers.callers import GATEWAY, OK, REFUSED, Target

MIB: Final = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--address", help="gateway of a stack that runs on this machine; else one is started")
    parser.add_argument("--ready-file", type=Path, help="the ready file of that stack, to find its processes")
    parser.add_argument("--profile", choices=PROFILES, default="default", help="of the stack that is started")
    parser.add_argument("--times", type=float, default=5.0, help="load, in peaks")
    parser.add_argument("--warm-up-s", type=float, default=5.0, help="seconds of load before anything counts")
    parser.add_argument("--rounds", type=int, default=4, help="how often peak and overload take turns")
    parser.add_argument("--peak-s", type=float, default=8.0, help="seconds of closed-loop load in a round")
    parser.add_argument("--stat-s", type=float, default=10.0, help="seconds of STAT calls alone")
    parser.add_argument("--overload-s", type=float, default=15.0, help="seconds of overload in a round")
    parser.add_argument("--deadline-s", type=float, default=3.0, help="deadline of every call")
    parser.add_argument(
        "--at-once",
        type=int,
        default=6,
        help="calls in progress in the closed loop; as many as give the peak",
    )
    parser.add_argument(
        "--batch-ms", type=float, default=200.0, help="the services' max_batch_ms, to compare with"
    )
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures here")
    arguments = parser.parse_args()
    load_before = os.getloadavg()[0]
    with _stack(arguments) as state:
        figures = measure(state, arguments)
    figures = {
        "command": _command(arguments),
        **facts(),
        "load_before": load_before,
        "claims": claims(figures),
        **figures,
    }
    print(json.dumps(figures, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


def _command(arguments: argparse.Namespace) -> str:
    """How to measure the same once more."""
    times = (
        "times",
        "rounds",
        "warm_up_s",
        "peak_s",
        "stat_s",
        "overload_s",
        "deadline_s",
        "at_once",
        "batch_ms",
    )
    flags = (f"--{name.replace('_', '-')} {getattr(arguments, name):g}" for name in times)
    return f"python -m benchmarks.overload --profile {arguments.profile} {' '.join(flags)}"


@contextmanager
def _stack(arguments: argparse.Namespace) -> Any:
    if arguments.address:
        state = json.loads(arguments.ready_file.read_text()) if arguments.ready_file else {"services": {}}
        yield state | {"address": arguments.address}
        return
    with tempfile.TemporaryDirectory() as folder, stack(Path(folder), arguments.profile) as state:
        yield state


def measure(state: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    """All phases, one after the other, on one stack."""
    plan = Plan(Target(GATEWAY, state["address"], arguments.deadline_s), images.generated(12).files)
    generate(closed_loop, plan, arguments.warm_up_s, arguments.at_once)
    alone = _watched(state, stat_alone, plan, arguments.stat_s, 1)
    rate = 0.0
    peaks: list[_Phase] = []
    overloads: list[_Phase] = []
    for _ in range(arguments.rounds):
        peaks.append(_watched(state, closed_loop, plan, arguments.peak_s, arguments.at_once))
        if not overloads:
            rate = arguments.times * peaks[0].goodput
            # Memory that only overload needs is taken in its first seconds; what counts is that it does not go on.
            generate(open_loop, plan, arguments.warm_up_s, rate)
        overloads.append(_watched(state, open_loop, plan, arguments.overload_s, rate))
    calls = [call for phase in overloads for call in phase.calls]
    outcomes = Counter(call.outcome for call in calls)
    accepted = len(calls) - outcomes[REFUSED]
    peak, goodput = (_median(phase.goodput for phase in phases) for phases in (peaks, overloads))
    left = [_median(phase.goodput_of_what_was_left for phase in phases) for phases in (peaks, overloads)]
    return {
        "profile": arguments.profile,
        "asked": {
            "times_peak": round(rate / peak, 2),
            "deadline_s": arguments.deadline_s,
            "mix": MIX,
        },
        "peaks": [round(phase.goodput, 2) for phase in peaks],
        "overloads": [round(phase.goodput, 2) for phase in overloads],
        "peak_goodput": round(peak, 2),
        "overload_goodput": round(goodput, 2),
        "goodput_share": round(goodput / peak, 3),
        "goodput_share_of_what_was_left": round(left[1] / left[0], 3),
        "load_share_of_processors": round(_median(phase.load_share for phase in overloads), 3),
        "outcomes": dict(outcomes),
        "outcomes_by_priority": {
            priority: dict(Counter(call.outcome for call in calls if call.priority == priority))
            for priority in MIX
        },
        "accepted_in_time_share": round(outcomes[OK] / accepted, 4) if accepted else None,
        "stat_ms": {
            "alone": _percentiles(alone.calls, "stat"),
            "overload": _percentiles(calls, "stat"),
            "largest_batch": arguments.batch_ms,
        },
        "refusal": _refusal(peaks, overloads),
        "memory_mib": {
            name: {
                "before": overloads[0].memory[name]["before"],
                "after": overloads[-1].memory[name]["after"],
            }
            for name in overloads[0].memory
        },
        "phases": [
            {"phase": name, "seconds": round(one.seconds, 1), "calls": len(one.calls), "cpu_s": one.cpu_s}
            for name, phases in (("STAT alone", [alone]), ("peak", peaks), ("overload", overloads))
            for one in phases
        ],
    }


def _median(values: Iterable[float]) -> float:
    return statistics.median(list(values))


def claims(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """What the figures show, against what they are to show."""
    times = figures["asked"]["times_peak"]
    alone, loaded = (figures["stat_ms"][name] for name in ("alone", "overload"))
    batch_ms = figures["stat_ms"]["largest_batch"]
    growth = sum(each["after"] - each["before"] for each in figures["memory_mib"].values())
    whole = sum(each["before"] for each in figures["memory_mib"].values())
    in_time = figures["accepted_in_time_share"] or 0.0
    share, left = figures["goodput_share"], figures["goodput_share_of_what_was_left"]
    load = figures["load_share_of_processors"]
    refusal = figures["refusal"]["share"]
    stat_holds = "p99" in alone and "p99" in loaded and loaded["p99"] <= alone["p99"] + batch_ms
    return [
        claim(
            f"At {times:g} times the load that the stack can carry, it does as much useful work as at its peak",
            "goodput at least 90% of the peak",
            f"{left:.0%} for each processor second that the load, on the same machine, left to the stack (it took "
            f"{load:.1%}); {share:.0%} as seen: {figures['overload_goodput']:g} of {figures['peak_goodput']:g} fields "
            "a second",
            holds=left >= 0.9,
        ),
        claim("Accepted requests keep their deadline", "all", f"{in_time:.1%}", holds=in_time >= 0.999),
        claim(
            "Memory is flat under overload",
            "less than 5% more",
            f"{growth:+.0f} MiB of {whole:.0f} MiB",
            holds=growth < 0.05 * whole,
        ),
        claim(
            "Refusing costs little processor time",
            "under a tenth of serving",
            "not known" if refusal is None else f"{refusal:.1%}",
            holds=refusal is not None and refusal < 0.1,
        ),
        claim(
            "STAT hardly notices the others",
            f"p99 within that of STAT alone plus one largest batch, {batch_ms:g} ms",
            f"{loaded.get('p99', '?')} ms against {alone.get('p99', '?')} ms alone",
            holds=stat_holds,
        ),
    ]


def _percentiles(calls: Sequence[Call], priority: str) -> dict[str, float | int]:
    times = sorted(1000 * call.seconds for call in calls if (call.priority, call.outcome) == (priority, OK))
    if len(times) < 2:
        return {"calls": len(times)}
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {"calls": len(times), "p50": round(cuts[49], 1), "p99": round(cuts[98], 1)}


def _refusal(peaks: Sequence["_Phase"], overloads: Sequence["_Phase"]) -> dict[str, float | None]:
    """Processor milliseconds of the services for a call that is served, and for one that is refused."""
    served = sum(call.outcome == OK for phase in peaks for call in phase.calls)
    if not served or "gateway" not in peaks[0].cpu_s:
        return {"served_ms": None, "refused_ms": None, "share": None}

    def cpu_ms(phases: Sequence["_Phase"], *names: str) -> float:
        return 1000 * sum(phase.cpu_s[name] for phase in phases for name in names)

    served_ms = cpu_ms(peaks, *(name for name in peaks[0].cpu_s if name != "load")) / served
    outcomes = Counter(call.outcome for phase in overloads for call in phase.calls)
    begun = outcomes.total() - outcomes[REFUSED]
    at_door_ms = cpu_ms(overloads, "gateway") - begun * cpu_ms(peaks, "gateway") / served
    refused_ms = max(0.0, at_door_ms) / max(1, outcomes[REFUSED])
    return {
        "served_ms": round(served_ms, 2),
        "refused_ms": round(refused_ms, 3),
        "share": round(refused_ms / served_ms, 4),
    }


@dataclass(frozen=True, slots=True)
class _Phase:
    """One phase of load and what the processes did meanwhile.

    Attributes:
        cpu_s: processor seconds of each service, of Triton with its networks, and of the load itself.
        memory: resident MiB of each, before and after.
    """

    load: Load
    cpu_s: dict[str, float]
    memory: dict[str, dict[str, int]]

    @property
    def calls(self) -> list[Call]:
        return self.load.calls

    @property
    def seconds(self) -> float:
        return self.load.took_s

    @property
    def goodput(self) -> float:
        """Without what was still answered when no more calls were begun: that had the machine to itself."""
        return self.load.per_second()

    @property
    def load_share(self) -> float:
        """What the load took of the machine's processors, 0 to 1."""
        return self.cpu_s["load"] / (self.seconds * (os.cpu_count() or 1))

    @property
    def goodput_of_what_was_left(self) -> float:
        """Goodput, had the load taken no processor from the stack."""
        return self.goodput / (1 - self.load_share)


def _watched(state: dict[str, Any], kind: Any, plan: Plan, seconds: float, how_much: float) -> _Phase:
    found = groups(state) if "pid" in state else {}
    cpu_before = {name: _cpu_s(group) for name, group in found.items()}
    looks: list[dict[str, float]] = []

    def look() -> None:
        looks.append({name: _rss_mib(group) for name, group in found.items()})

    load = generate(kind, plan, seconds, how_much, meanwhile=look)
    cpu_s = {name: round(_cpu_s(group) - cpu_before[name], 2) for name, group in found.items()}
    memory = {name: {"before": round(looks[0][name]), "after": round(looks[-1][name])} for name in found}
    return _Phase(load, cpu_s | {"load": round(load.cpu_s, 2)}, memory)


def _cpu_s(group: list[psutil.Process]) -> float:
    return float(sum(sum(process.cpu_times()[:2]) for process in group))


def _rss_mib(group: list[psutil.Process]) -> float:
    return float(sum(process.memory_info().rss for process in group) / MIB)


if __name__ == "__main__":
    main()
