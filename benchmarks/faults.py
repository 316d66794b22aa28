"""Breaks the stack at random while it works, and checks every answer. `python -m benchmarks.faults --minutes 30`

Starts the real stack on this machine, two of everything, with a proxy on every way between two processes. Learns what
it says of generated fields and cells while nobody disturbs it. Then sends it smears, single fields and single cells
all the time, through the real client, while faults strike at random moments: processes are killed, stopped for
seconds, told to end; connections are slow, cut, or carry replies that cannot be read. Whatever is unwell at one
moment is always of one side, the first of each or the second: nobody survives the loss of both.

Lost is a field or cell that a stream accepted and gave no good answer about; duplicated, one that was counted or told
of twice; mixed up, an answer that is not what the undisturbed stack said of the same pixels, or a differential that
is not the sum of its fields. Single calls may fail with UNAVAILABLE, RESOURCE_EXHAUSTED or DEADLINE_EXCEEDED and are
counted; any other error is forbidden. Exit status 1 when anything was lost, duplicated, mixed up or forbidden.

Two recovery times are measured from the moment of each fault: until the first call that began after it was answered,
which is what callers feel, and until what was hit says SERVING again and goes on to for two seconds, the fault's own
length included.
"""

import argparse
import asyncio
import json
import random
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.answers import Sample, sample, undisturbed
from benchmarks.claims import claim
from benchmarks.fault_kinds import KINDS, Target
from benchmarks.faulty_stack import FaultyStack, faulty_stack
from benchmarks.load import Load, Tally
from benchmarks.machine import facts
from hemaserve.client import Client
from services.stack.settings import StackSettings

BAR_FAULTS: Final = 200
BAR_MINUTES: Final = 30
POLL_S: Final = 0.5
STEADY_S: Final = 2.0
"""Health that lasts this long is believed: a process that is gone is not missed at once."""
LEAST_GAP_S: Final = 1.0
RECOVERY_TIMEOUT_S: Final = 180.0
BIN_S: Final = 10


@dataclass
class Fault:
    """One fault; times are on the monotonic clock, and none until it has come.

    Attributes:
        kind: what was done.
        side: the number of the replica.
        target: to what.
        began: when.
        whole: when what was hit was well again.
    """

    kind: str
    side: int
    target: str = ""
    began: float = 0.0
    whole: float | None = None


class Campaign:
    """Faults against a stack, one after the other and some at once."""

    def __init__(self, stack: FaultyStack, tally: Tally, *, seed: int, every_s: float) -> None:
        self.faults: list[Fault] = []
        self._stack = stack
        self._tally = tally
        self._chance = random.Random(seed)
        self._every_s = every_s
        self._started = time.monotonic()
        self._open: set[asyncio.Task[None]] = set()
        self._sides: Counter[int] = Counter()

    async def run(self, seconds: float) -> None:
        """Strike for some time, then wait until all is well."""
        while (left := self._started + seconds - time.monotonic()) > 0:
            gap = max(self._chance.expovariate(1 / self._every_s), LEAST_GAP_S)
            await asyncio.sleep(min(gap, left))
            if gap < left:
                await self._strike()
        await asyncio.gather(*self._open)

    async def _strike(self) -> None:
        unwell = {replica.label for replica in await self._stack.unwell()}
        replicas = self._stack.replicas()
        sides = {one.number for one in replicas if one.label in unwell} | set(+self._sides)
        if len(sides) > 1:
            return
        side = sides.pop() if sides else self._chance.choice([one.number for one in replicas])
        well = [one for one in replicas if one.number == side and one.label not in unwell]
        fault = Fault(self._chance.choice(list(KINDS)), side)
        task = asyncio.create_task(self._carry_out(fault, Target(self._stack, side, well, self._chance)))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _carry_out(self, fault: Fault, target: Target) -> None:
        def began(name: str) -> None:
            fault.target, fault.began = name, time.monotonic()
            self.faults.append(fault)
            self._say(fault, "")

        self._sides[fault.side] += 1
        try:
            await KINDS[fault.kind](target, began)
            fault.whole = await self._whole(fault.target)
        except LookupError:
            return  # what was to be hit is gone already
        finally:
            self._sides[fault.side] -= 1
        if fault.whole is None:
            self._tally.note(f"{fault.kind} of {fault.target}:", ["not well again"])
        else:
            self._say(fault, f"well again after {fault.whole - fault.began:.1f} s")

    async def _whole(self, target: str) -> float | None:
        """When all parts that the target names were well, and stayed so."""
        deadline = time.monotonic() + RECOVERY_TIMEOUT_S
        since: float | None = None
        while time.monotonic() < deadline:
            await asyncio.sleep(POLL_S)
            if any(one.label in target for one in await self._stack.unwell()):
                since = None
                continue
            since = since or time.monotonic()
            if time.monotonic() - since >= STEADY_S:
                return since
        return None

    def _say(self, fault: Fault, more: str) -> None:
        tally = self._tally
        wrong = f"{tally.lost} lost, {tally.duplicated} duplicated, {tally.mixed_up} mixed up"
        print(
            f"{time.monotonic() - self._started:7.1f} s  {len(self.faults):3} {fault.kind:<22} {fault.target:<32} "
            f"{more or f'{tally.fields} fields, {tally.cells} cells; {wrong}, {tally.forbidden} forbidden'}",
            flush=True,
        )


def report(faults: Sequence[Fault], tally: Tally, started: float, ended: float) -> dict[str, Any]:
    """All figures of a campaign, as plain JSON values."""
    answered = {id(fault): _answered(fault, tally) for fault in faults}
    kinds = {
        kind: {
            "count": len(of_kind),
            "answered_s": _percentiles(answered[id(fault)] for fault in of_kind),
            "whole_s": _percentiles(None if f.whole is None else f.whole - f.began for f in of_kind),
        }
        for kind in KINDS
        if (of_kind := [fault for fault in faults if fault.kind == kind])
    }
    bins = [0] * (int((ended - started) / BIN_S) + 1)
    for at in tally.done_at:
        bins[min(max(int((at - started) / BIN_S), 0), len(bins) - 1)] += 1
    minutes = (ended - started) / 60
    answers = tally.fields + tally.cells
    return {
        "claims": [
            claim(
                "Faults injected at random",
                f"at least {BAR_FAULTS} over at least {BAR_MINUTES} minutes",
                f"{len(faults)} over {minutes:.1f} minutes",
                holds=len(faults) >= BAR_FAULTS and minutes >= BAR_MINUTES,
            ),
            *(
                claim(what, "0", f"{count} of {answers} fields and cells", holds=count == 0)
                for what, count in (
                    ("Lost under faults", tally.lost),
                    ("Counted or told of twice under faults", tally.duplicated),
                    ("Mixed up under faults", tally.mixed_up),
                )
            ),
            claim(
                "Errors under faults of a kind that nobody should see",
                "0",
                f"{tally.forbidden}; of {sum(tally.codes.values())} single calls "
                f"{tally.codes['OK']} were answered, the others may be repeated",
                holds=tally.forbidden == 0,
            ),
            claim(
                "Faults after which something did not recover",
                "0",
                str(lasting := sum(fault.whole is None for fault in faults)),
                holds=lasting == 0,
            ),
        ],
        "faults": len(faults),
        "never_whole": sum(fault.whole is None for fault in faults),
        "kinds": kinds,
        "smears": tally.smears,
        "fields": tally.fields,
        "cells": tally.cells,
        "degraded_fields": tally.degraded,
        "lost": tally.lost,
        "duplicated": tally.duplicated,
        "mixed_up": tally.mixed_up,
        "forbidden": tally.forbidden,
        "single_calls": dict(sorted(tally.codes.items())),
        "problems": tally.problems,
        "fields_per_second": {"bin_s": BIN_S, "values": [round(count / BIN_S, 2) for count in bins[:-1]]},
        "struck": [
            {"at_s": round(fault.began - started, 1), "kind": fault.kind, "target": fault.target}
            for fault in faults
        ],
    }


def _answered(fault: Fault, tally: Tally) -> float | None:
    """Seconds from a fault to the answer of the first call that began after it and was answered well."""
    ends = [call.ended for call in tally.calls if call.began >= fault.began and call.code == "OK"]
    return min(ends) - fault.began if ends else None


def _percentiles(values: Iterable[float | None]) -> dict[str, float]:
    """Median, 95th percentile and maximum; empty when there are no values."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return {}
    cuts = statistics.quantiles(known, n=20, method="inclusive") if len(known) > 1 else known * 19
    return {"p50": round(statistics.median(known), 2), "p95": round(cuts[18], 2), "max": round(known[-1], 2)}


def stack_settings(folder: Path, profile: str, replicas: int) -> StackSettings:
    """A stack on free ports, with its logs and its ready file in a folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    return StackSettings(
        address=address,
        profile=profile,  # type: ignore[arg-type]  # parsed
        replicas=replicas,
        ready_file=folder / "ready.json",
        log_dir=folder / "logs",
        # The test's own patience with a machine that is busy.
        ready_timeout_s=600.0,
    )


async def learn(address: str, count: int) -> tuple[list[Sample], Any]:
    """Samples, and what the stack says of them while nobody disturbs it."""
    drawn = await asyncio.to_thread(lambda: [sample(seed) for seed in range(count)])
    async with Client(address, timeout_s=120.0) as client:
        samples, expected = await undisturbed(client, drawn)
    if len(samples) < count / 4:
        sys.exit(f"only {len(samples)} of {count} generated fields get the same answer twice")
    print(
        f"{len(samples)} of {count} generated fields get a clear answer, and the same one each time",
        flush=True,
    )
    return samples, expected


async def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Start, learn, strike, report."""
    settings = stack_settings(folder, arguments.profile, arguments.replicas)
    async with faulty_stack(settings, lambda line: print(f"           {line}", flush=True)) as stack:
        samples, expected = await learn(stack.address, arguments.samples)
        load = Load(
            stack.address,
            samples,
            expected,
            seed=arguments.seed,
            fields_per_second=arguments.fields_per_second,
        )
        started = time.monotonic()
        asking = asyncio.create_task(load.run())
        campaign = Campaign(stack, load.tally, seed=arguments.seed, every_s=arguments.every)
        await campaign.run(60 * arguments.minutes)
        load.stop()
        tally = await asking
        ended = time.monotonic()
    return {
        **facts(),
        "command": (
            f"python -m benchmarks.faults --minutes {arguments.minutes:g} --seed {arguments.seed} "
            f"--every {arguments.every:g} --fields-per-second {arguments.fields_per_second:g}"
        ),
        "minutes": arguments.minutes,
        "seed": arguments.seed,
        "replicas": arguments.replicas,
        "profile": arguments.profile,
        "every_s": arguments.every,
        "load_fields_per_second": arguments.fields_per_second,
        "samples": len(samples),
        **report(campaign.faults, tally, started, ended),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0, help="how long faults strike; default: 30")
    parser.add_argument("--seed", type=int, default=1, help="of the faults and the load; default: 1")
    parser.add_argument(
        "--every", type=float, default=5.0, metavar="S", help="mean seconds between two faults; default: 5"
    )
    parser.add_argument(
        "--fields-per-second",
        type=float,
        default=2.0,
        help="load; default: 2, which leaves room on two cores",
    )
    parser.add_argument("--replicas", type=int, default=2, help="of each process; default: 2")
    parser.add_argument(
        "--samples", type=int, default=48, help="different fields in the load, at most; default: 48"
    )
    parser.add_argument(
        "--profile", choices=("default", "full"), default="default", help="of the stack; default: default"
    )
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep the stack's logs there")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.logs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        figures = asyncio.run(measure(arguments, folder))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(
        json.dumps({k: v for k, v in figures.items() if k not in ("struck", "fields_per_second")}, indent=1)
    )
    if (
        figures["lost"]
        or figures["duplicated"]
        or figures["mixed_up"]
        or figures["forbidden"]
        or figures["never_whole"]
    ):
        sys.exit(1)


if __name__ == "__main__":
    main()
