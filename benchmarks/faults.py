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

Two recovery times are measured for each fault: how long a single call that was under way, or else the next one, and
those after it where that failed, waited for an answer, which is what callers feel; and how long it took until what
was hit says SERVING again and goes on to for two seconds, the fault's own length included.
"""

import argparse
import asyncio
import json
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.answers import learn
from benchmarks.campaign import Campaign, Fault
from benchmarks.claims import claim
from benchmarks.fault_kinds import KINDS
from benchmarks.faulty_stack import faulty_stack
from benchmarks.load import Load, Tally
from benchmarks.machine import facts
from services.stack.settings import StackSettings

BAR_FAULTS: Final = 200
BAR_MINUTES: Final = 30
BIN_S: Final = 10


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
    """Seconds until a call was answered well, from the fault or from the beginning of the first call after it."""
    calls = sorted((call for call in tally.calls if call.ended > fault.began), key=lambda call: call.began)
    answered = [call.ended for call in calls if call.code == "OK"]
    return min(answered) - max(calls[0].began, fault.began) if answered else None


def _percentiles(values: Iterable[float | None]) -> dict[str, float]:
    """Median, 95th percentile and maximum; empty when there are no values."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return {}
    cuts = statistics.quantiles(known, n=20, method="inclusive") if len(known) > 1 else known * 19
    return {"p50": round(statistics.median(known), 2), "p95": round(cuts[18], 2), "max": round(known[-1], 2)}


def stack_settings(folder: Path, profile: str, replicas: int, *, tls: bool) -> StackSettings:
    """A stack on free ports, with its logs and its ready file in a folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    return StackSettings(
        address=address,
        profile=profile,  # type: ignore[arg-type]  # parsed
        replicas=replicas,
        tls=folder / "tls" if tls else None,
        ready_file=folder / "ready.json",
        log_dir=folder / "logs",
        # The test's own patience with a machine that is busy.
        ready_timeout_s=600.0,
    )


async def measure(arguments: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Start, learn, strike, report."""
    settings = stack_settings(folder, arguments.profile, arguments.replicas, tls=arguments.tls)
    async with faulty_stack(settings, lambda line: print(f"           {line}", flush=True)) as stack:
        samples, expected = await learn(stack.address, arguments.samples, stack.credentials)
        load = Load(
            stack.address,
            samples,
            expected,
            seed=arguments.seed,
            credentials=stack.credentials,
            fields_per_second=arguments.fields_per_second,
        )
        started = time.monotonic()
        asking = asyncio.create_task(load.run())
        campaign = Campaign(
            stack, load.tally, seed=arguments.seed, every_s=arguments.every, kinds=arguments.kinds or ()
        )
        striking = asyncio.create_task(campaign.run(60 * arguments.minutes))
        await asyncio.wait({striking, asking, stack.running}, return_when=asyncio.FIRST_COMPLETED)
        for task in (striking, asking):
            if task.done():
                task.result()
        if not striking.done():
            sys.exit("the stack was stopped; nothing was measured")
        load.stop()
        tally = await asking
        ended = time.monotonic()
    return {
        **facts(),
        "command": (
            f"python -m benchmarks.faults --minutes {arguments.minutes:g} --seed {arguments.seed} "
            f"--every {arguments.every:g} --fields-per-second {arguments.fields_per_second:g}"
            + (" --tls" if arguments.tls else "")
        ),
        "minutes": arguments.minutes,
        "seed": arguments.seed,
        "replicas": arguments.replicas,
        "profile": arguments.profile,
        "tls": arguments.tls,
        "every_s": arguments.every,
        "load_fields_per_second": arguments.fields_per_second,
        "samples": len(samples),
        **report(campaign.faults, tally, started, ended),
    }


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--minutes", type=float, default=30.0, help="how long faults strike; default: 30")
    words.add_argument("--seed", type=int, default=1, help="of the faults and the load; default: 1")
    words.add_argument(
        "--every", type=float, default=5.0, metavar="S", help="mean seconds between two faults; default: 5"
    )
    words.add_argument(
        "--fields-per-second",
        type=float,
        default=2.0,
        help="load; default: 2, which leaves room on two cores",
    )
    words.add_argument("--replicas", type=int, default=2, help="of each process; default: 2")
    words.add_argument(
        "--samples", type=int, default=48, help="different fields in the load, at most; default: 48"
    )
    words.add_argument(
        "--profile", choices=("default", "full"), default="default", help="of the stack; default: default"
    )
    words.add_argument("--kinds", nargs="+", choices=list(KINDS), help="only these faults; default: all")
    words.add_argument(
        "--tls",
        action="store_true",
        help="between clients and services, where then any byte of a reply is changed",
    )
    words.add_argument("--logs", type=Path, metavar="DIR", help="keep the stack's logs there")
    words.add_argument("--json", type=Path, metavar="FILE", help="write the figures as JSON")
    return words


def main() -> None:
    arguments = parser().parse_args()
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
