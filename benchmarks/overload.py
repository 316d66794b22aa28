"""What becomes of a stack that is asked for several times what it can do. `python -m benchmarks.overload`

Starts a stack (or takes --address of one on this machine), and asks it to analyse generated fields: first as fast as it
answers (closed loop), which gives its peak; then STAT fields alone, one after another; then at --times its peak (open
loop: nothing waits for an answer before asking again), with STAT, routine and batch calls of several clients and a
deadline each. All load comes from a process of its own, whose time on the processors is reported too.

What is reported: goodput (fields answered before their deadline, a second) under overload against its peak; the share
of accepted calls that kept their deadline; how long STAT takes against when it is alone, in full and in batches; how
resident memory moved; and what refusing a call costs in processor time against serving one. A refusal's time is what
the gateway spends beyond what it spends on the calls that it serves, as measured at the peak.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks import images
from benchmarks.call_load import MIX, Call, Plan, closed_loop, generate, open_loop, stat_alone
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
    parser.add_argument("--peak-s", type=float, default=12.0, help="seconds of closed-loop load")
    parser.add_argument("--stat-s", type=float, default=8.0, help="seconds of STAT calls alone")
    parser.add_argument("--overload-s", type=float, default=25.0, help="seconds of overload")
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
    times = ("times", "warm_up_s", "peak_s", "stat_s", "overload_s", "deadline_s")
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
    peaks = [_watched(state, closed_loop, plan, arguments.peak_s, arguments.at_once)]
    alone = _watched(state, stat_alone, plan, arguments.stat_s, 1)
    rate = arguments.times * peaks[0].goodput
    # Memory that only overload needs is taken in its first seconds; what counts is that it does not go on.
    generate(open_loop, plan, arguments.warm_up_s, rate)
    overload = _watched(state, open_loop, plan, arguments.overload_s, rate)
    # Other work on the machine changes what the peak is: it is looked for on both sides, and the greater one counts.
    peaks.append(_watched(state, closed_loop, plan, arguments.peak_s, arguments.at_once))
    peak = peaks[0]
    peak_goodput = max(phase.goodput for phase in peaks)
    outcomes = Counter(call.outcome for call in overload.calls)
    accepted = len(overload.calls) - outcomes[REFUSED]
    return {
        "profile": arguments.profile,
        "asked": {
            "times_peak": round(rate / peak_goodput, 2),
            "deadline_s": arguments.deadline_s,
            "mix": MIX,
        },
        "peak_goodput": round(peak_goodput, 2),
        "peaks": [round(phase.goodput, 2) for phase in peaks],
        "overload_goodput": round(overload.goodput, 2),
        "goodput_share": round(overload.goodput / peak_goodput, 3),
        "outcomes": dict(outcomes),
        "outcomes_by_priority": {
            priority: dict(Counter(call.outcome for call in overload.calls if call.priority == priority))
            for priority in MIX
        },
        "accepted_in_time_share": round(outcomes[OK] / accepted, 4) if accepted else None,
        "stat_ms": {
            "alone": _percentiles(alone, "stat"),
            "overload": _percentiles(overload, "stat"),
            "largest_batch": arguments.batch_ms,
        },
        "refusal": _refusal(peak, overload),
        "memory_mib": overload.memory,
        "phases": {
            name: {"seconds": round(phase.seconds, 1), "calls": len(phase.calls), "cpu_s": phase.cpu_s}
            for name, phase in (("peak", peak), ("stat alone", alone), ("overload", overload))
        },
    }


def claims(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """What the figures show, against what they are to show."""
    times = figures["asked"]["times_peak"]
    alone, loaded = (figures["stat_ms"][name] for name in ("alone", "overload"))
    batch_ms = figures["stat_ms"]["largest_batch"]
    growth = sum(each["after"] - each["before"] for each in figures["memory_mib"].values())
    whole = sum(each["before"] for each in figures["memory_mib"].values())
    share, in_time = figures["goodput_share"], figures["accepted_in_time_share"] or 0.0
    refusal = figures["refusal"]["share"]
    stat_holds = "p99" in alone and "p99" in loaded and loaded["p99"] <= alone["p99"] + batch_ms
    return [
        claim(
            f"At {times:g} times the load that the stack can carry, it does as much useful work as at its peak",
            "goodput at least 90% of the peak",
            f"{share:.0%}: {figures['overload_goodput']:g} of {figures['peak_goodput']:g} fields a second",
            holds=share >= 0.9,
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


def _percentiles(phase: "_Phase", priority: str) -> dict[str, float | int]:
    times = sorted(
        1000 * call.seconds for call in phase.calls if (call.priority, call.outcome) == (priority, OK)
    )
    if len(times) < 2:
        return {"calls": len(times)}
    cuts = statistics.quantiles(times, n=100, method="inclusive")
    return {"calls": len(times), "p50": round(cuts[49], 1), "p99": round(cuts[98], 1)}


def _refusal(peak: "_Phase", overload: "_Phase") -> dict[str, float | None]:
    """Processor milliseconds of the services for a call that is served, and for one that is refused."""
    served = sum(call.outcome == OK for call in peak.calls)
    if not served or "gateway" not in peak.cpu_s:
        return {"served_ms": None, "refused_ms": None, "share": None}
    ours = [name for name in peak.cpu_s if name != "load"]
    served_ms = 1000 * sum(peak.cpu_s[name] for name in ours) / served
    outcomes = Counter(call.outcome for call in overload.calls)
    begun = len(overload.calls) - outcomes[REFUSED]
    at_door_ms = 1000 * overload.cpu_s["gateway"] - begun * 1000 * peak.cpu_s["gateway"] / served
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
        memory: resident MiB of each, before, after, and by how much it grew a minute in the second half.
    """

    seconds: float
    calls: list[Call]
    cpu_s: dict[str, float]
    memory: dict[str, dict[str, float]]

    @property
    def goodput(self) -> float:
        return sum(call.outcome == OK for call in self.calls) / self.seconds


def _watched(state: dict[str, Any], kind: Any, plan: Plan, seconds: float, how_much: float) -> _Phase:
    found = groups(state) if "pid" in state else {}
    cpu_before = {name: _cpu_s(group) for name, group in found.items()}
    looks: list[tuple[float, dict[str, float]]] = []

    def look() -> None:
        looks.append((time.monotonic(), {name: _rss_mib(group) for name, group in found.items()}))

    load = generate(kind, plan, seconds, how_much, meanwhile=look)
    cpu_s = {name: round(_cpu_s(group) - cpu_before[name], 2) for name, group in found.items()}
    memory = {}
    half = [each for each in looks if each[0] >= (looks[0][0] + looks[-1][0]) / 2]
    for name in found:
        slope = 0.0
        if len(half) > 2:
            slope = statistics.linear_regression([at for at, _ in half], [rss[name] for _, rss in half]).slope
        first, last = looks[0][1][name], looks[-1][1][name]
        memory[name] = {"before": round(first), "after": round(last), "growth_a_minute": round(60 * slope, 1)}
    return _Phase(load.took_s, load.calls, cpu_s | {"load": round(load.cpu_s, 2)}, memory)


def _cpu_s(group: list[psutil.Process]) -> float:
    return float(sum(sum(process.cpu_times()[:2]) for process in group))


def _rss_mib(group: list[psutil.Process]) -> float:
    return float(sum(process.memory_info().rss for process in group) / MIB)


if __name__ == "__main__":
    main()
