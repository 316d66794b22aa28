"""Whether the stack keeps what it takes: memory, handles and threads under hours of load. `python -m benchmarks.soak`

Starts a stack, learns what it says of generated fields and cells, and sends them again and again: smears, single fields
and single cells through the real client, every answer checked. It is warmed up at several times the load, so that each
buffer has been as large as it will ever be, then at an even load that leaves the machine room, which other buffers are
for, and is looked at every few seconds while that load goes on.

What counts is the memory that the stack's processes have written to: pages that are anonymous or in shared memory,
those that several have divided among them. Pages of mapped files, which are the libraries, are told beside it and do
not count: they cannot become more than the files, the kernel takes them back when it needs them, and another stack that
shares them makes them jump by coming and going.

Growth is told from the median of the first fifth of the looks after the warm-up to the median of the last fifth, and
once more as the slope of a line through all of them. Exit status 1 when memory grew by 2% or more, when a process holds
more handles or threads at the end, or when an answer was lost, mixed up or an error.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.answers import Expected, Sample, learn
from benchmarks.claims import claim
from benchmarks.footprint import groups, stack
from benchmarks.load import Load, Tally
from benchmarks.machine import facts

LIMIT: Final = 0.02
"""Growth of memory that is not accepted, as a share."""
SPARE_HANDLES: Final = 3
"""Connections and threads come and go; so many more at the end are no growth."""
WARM_UP: Final = ((4.0, 0.3, 240.0), (1.0, 0.2, 60.0))
"""The warm-up: how many times the load, for which share of all the time, and for how many seconds at most."""
MOST_POINTS: Final = 200
OWN: Final = "own"
COUNTED: Final = (OWN, "pss", "rss", "handles", "threads")


@dataclass(frozen=True)
class Look:
    """What all processes held at one moment.

    Attributes:
        at_s: seconds since the warm-up ended.
        held: by group of processes: `own`, `pss` and `rss` in bytes, `handles` (open files and connections), `threads`.
    """

    at_s: float
    held: Mapping[str, Mapping[str, int]]

    def total(self, what: str) -> int:
        """Of all processes together."""
        return sum(group[what] for group in self.held.values())


def look(state: dict[str, Any], at_s: float) -> Look:
    """Look at all processes of a stack."""
    return Look(at_s, {name: _held(group) for name, group in groups(state).items()})


def _held(group: Sequence[psutil.Process]) -> dict[str, int]:
    memory = [_memory(process.pid) for process in group]
    return {
        OWN: sum(one["Pss_Anon"] + one["Pss_Shmem"] for one in memory),
        "pss": sum(one["Pss"] for one in memory),
        "rss": sum(one["Rss"] for one in memory),
        "handles": sum(process.num_fds() for process in group),
        "threads": sum(process.num_threads() for process in group),
    }


def _memory(pid: int) -> dict[str, int]:
    """What the kernel says of a process's memory, in bytes (proc_pid_smaps(5))."""
    _, *lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return {name: 1024 * int(value.split()[0]) for name, value in (line.split(":") for line in lines)}


def growth(values: Sequence[float]) -> float:
    """From the median of the first fifth to the median of the last fifth, as a share of the first."""
    fifth = max(len(values) // 5, 1)
    first, last = statistics.median(values[:fifth]), statistics.median(values[-fifth:])
    return last / first - 1


def slope(at_s: Sequence[float], values: Sequence[float]) -> float:
    """How much a straight line through the values rises over their time, as a share of where it begins."""
    line = statistics.linear_regression(at_s, values)
    begin = line.intercept + line.slope * at_s[0]
    return line.slope * (at_s[-1] - at_s[0]) / begin


def report(looks: Sequence[Look], tally: Tally) -> dict[str, Any]:
    """All figures of a soak, as plain JSON values; `failures` says in words what is not as it must be."""
    at_s = [one.at_s for one in looks]
    total = [one.total(OWN) for one in looks]
    processes = {
        name: {what: _ends([one.held[name][what] for one in looks]) for what in COUNTED}
        for name in looks[0].held
        if all(name in one.held for one in looks)
    }
    grown = growth(total)
    failures = [f"memory grew by {100 * grown:.1f}%"] if grown >= LIMIT else []
    if len(processes) < len(looks[0].held):
        failures.append("a process ended")
    failures += [
        f"{name} has {ends['last']} {what} in place of {ends['first']}"
        for name, held in processes.items()
        for what in ("handles", "threads")
        if (ends := held[what])["last"] > ends["first"] + SPARE_HANDLES
    ]
    if not tally.sound or set(tally.codes) - {"OK"}:
        failures.append(f"not every answer was good: {dict(tally.codes)}, {tally.problems}")
    every = -(-len(looks) // MOST_POINTS)
    answers = tally.fields + tally.cells
    return {
        "claims": [
            claim(
                "Memory after warm-up, at the end of a soak",
                f"less than {100 * LIMIT:g}% more",
                f"{100 * grown:+.2f}% over {at_s[-1] / 60:.0f} minutes",
                holds=grown < LIMIT,
            ),
            claim(
                "Soak without a bad answer, a lasting handle or thread, or a process that ended",
                "nothing of the kind",
                "; ".join(failures) or f"nothing, in {answers} fields and cells",
                holds=not failures,
            ),
        ],
        "looks": len(looks),
        "seconds": round(at_s[-1] - at_s[0]),
        "growth": round(grown, 5),
        "slope": round(slope(at_s, total), 5),
        OWN: _ends(total),
        "pss": _ends([one.total("pss") for one in looks]),
        "processes": processes,
        "smears": tally.smears,
        "fields": tally.fields,
        "cells": tally.cells,
        "single_calls": dict(sorted(tally.codes.items())),
        "failures": failures,
        "own_over_time": [[round(at), value] for at, value in zip(at_s, total, strict=True)][::every],
    }


def _ends(values: Sequence[int]) -> dict[str, int]:
    """The medians of the first and of the last fifth."""
    fifth = max(len(values) // 5, 1)
    return {
        "first": round(statistics.median(values[:fifth])),
        "last": round(statistics.median(values[-fifth:])),
    }


async def soak(
    state: dict[str, Any], *, minutes: float, fields_per_second: float, samples: int, every_s: float
) -> dict[str, Any]:
    """Load a running stack and look at it."""
    known, expected = await learn(state["address"], samples)
    warm_up_s = 0.0
    for times, share, most_s in WARM_UP:
        seconds = min(60 * minutes * share, most_s)
        await _loaded(state, known, expected, seconds=seconds, rate=times * fields_per_second)
        warm_up_s += seconds
    print(f"warm after {warm_up_s:.0f} s", flush=True)
    looks, tally = await _loaded(
        state,
        known,
        expected,
        seconds=60 * minutes - warm_up_s,
        rate=fields_per_second,
        every_s=every_s,
    )
    return report(looks, tally)


async def _loaded(
    state: dict[str, Any],
    samples: Sequence[Sample],
    expected: Expected,
    *,
    seconds: float,
    rate: float,
    every_s: float | None = None,
) -> tuple[list[Look], Tally]:
    """Load for some time, with looks now and then, or without."""
    load = Load(state["address"], samples, expected, seed=1, fields_per_second=rate)
    asking = asyncio.create_task(load.run())
    looks: list[Look] = []
    started = time.monotonic()
    while (at_s := time.monotonic() - started) < seconds:
        if every_s is None:
            await asyncio.sleep(seconds - at_s)
            continue
        looks.append(await asyncio.to_thread(look, state, at_s))
        own, pss = (looks[-1].total(what) / 1e6 for what in (OWN, "pss"))
        print(f"{at_s:7.0f} s  {own:8.1f} MB  {pss:8.1f} MB PSS  {load.tally.fields} fields", flush=True)
        await asyncio.sleep(every_s)
    load.stop()
    return looks, await asking


def measure(
    *, minutes: float, profile: str, fields_per_second: float, samples: int = 24, every_s: float | None = None
) -> dict[str, Any]:
    """Start a stack, soak it and stop it.

    Args:
        every_s: between two looks; by default 200 of them fit in, but not one a second.
    """
    with tempfile.TemporaryDirectory() as folder, stack(Path(folder), profile) as state:
        figures = asyncio.run(
            soak(
                state,
                minutes=minutes,
                fields_per_second=fields_per_second,
                samples=samples,
                every_s=every_s or max(2.0, 60 * minutes / MOST_POINTS),
            )
        )
    return {
        **facts(),
        "command": (
            f"python -m benchmarks.soak --minutes {minutes:g} --profile {profile} "
            f"--fields-per-second {fields_per_second:g}"
        ),
        "minutes": minutes,
        "profile": profile,
        "load_fields_per_second": fields_per_second,
        **figures,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=45.0, help="warm-up included; default: 45")
    parser.add_argument(
        "--profile", choices=("tiny", "default", "full"), default="default", help="default: default"
    )
    parser.add_argument(
        "--fields-per-second", type=float, default=1.5, help="after the warm-up; default: 1.5"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    arguments = parser.parse_args()
    figures = measure(
        minutes=arguments.minutes,
        profile=arguments.profile,
        fields_per_second=arguments.fields_per_second,
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({key: value for key, value in figures.items() if key != "own_over_time"}, indent=1))
    if figures["failures"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
