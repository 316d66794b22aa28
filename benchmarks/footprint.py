"""What the stack costs: time to ready, and memory of each process. `python -m benchmarks.footprint`

Starts a stack of each profile on a free port, analyses some generated fields, prints a table and stops the stack. With
--json the figures are printed as JSON, with --page a page of the documentation is written. RSS is resident memory;
shared pages are counted in each process that has them. PSS divides them among the processes, so that its sum is what
the machine really spends. The client is a process of its own that has ended before the second look, because pages that
it shares would count for less.
"""

import argparse
import json
import multiprocessing
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.machine import cpu

MIB: Final = 2**20
MB: Final = 10**6
PROFILES: Final = ("tiny", "default", "full")
ALL: Final = "all"


@contextmanager
def stack(folder: Path, profile: str, *more: str) -> Iterator[dict[str, Any]]:
    """Run a stack for the block; gives what its ready file says, with `total_s` since its process was started.

    Args:
        folder: for its log files.
        more: further arguments of `hemaserve up`.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    ready_file = folder / "ready.json"
    started = time.monotonic()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "hemaserve.cli", "up", "--address", address, "--profile", profile),
            *("--ready-file", str(ready_file), "--log-dir", str(folder), *more),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        while not ready_file.exists():
            if process.poll() is not None:
                sys.exit(f"the stack of profile {profile} did not start")
            time.sleep(0.05)
        yield json.loads(ready_file.read_text()) | {"total_s": time.monotonic() - started}
    finally:
        process.terminate()
        process.wait()


def measure(profile: str, fields: int) -> dict[str, Any]:
    """Start a stack, give it work and look at its processes."""
    with tempfile.TemporaryDirectory() as folder, stack(Path(folder), profile) as state:
        at_rest = processes(state)
        started = time.monotonic()
        client = multiprocessing.get_context("spawn").Process(target=_work, args=(state["address"], fields))
        client.start()
        client.join()
        if client.exitcode:
            sys.exit(f"the stack of profile {profile} did not answer")
        work_s = time.monotonic() - started
        after_work = processes(state)
    return {
        "profile": profile,
        "ready_s": round(state["total_s"], 1),
        "work_s": round(work_s, 1),
        "fields": fields,
        "at_rest": at_rest,
        "after_work": after_work,
    }


def _work(address: str, fields: int) -> None:
    from hemaserve import synthetic  # noqa: PLC0415 - in the client's process only
    from hemaserve.client import SyncClient  # noqa: PLC0415

    images = [synthetic.encode_png(synthetic.generate_field(seed).image) for seed in range(fields)]
    with SyncClient(address) as client:
        client.analyze_smear(images)


def processes(state: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Memory by process, in bytes; processes that run one network each are one entry, and so are all together."""
    found = {name: _memory(group) for name, group in groups(state).items()}
    return found | {ALL: {key: sum(one[key] for one in found.values()) for key in ("rss", "pss")}}


def groups(state: dict[str, Any]) -> dict[str, list[psutil.Process]]:
    """The stack's processes by what they do. Those that do the same are one group, named with their number."""
    own = psutil.Process(state["pid"])
    parts: dict[int, list[str]] = {}
    for name, replicas in state["replicas"].items():
        for one in replicas:
            parts.setdefault(one["pid"], []).append(name)
    found: dict[str, list[psutil.Process]] = {"stack": [own]}
    for process in own.children(recursive=True):
        name = ", ".join(parts[process.pid]) if process.pid in parts else _program(process)
        found.setdefault(name, []).append(process)
    return {name if len(group) == 1 else f"{len(group)} {name}s": group for name, group in found.items()}


def _program(process: psutil.Process) -> str:
    """What a process below the stack's own ones is."""
    words = process.cmdline()
    if any(word.endswith("decoder_process.py") for word in words):
        return "decoder"
    if any(word.endswith("guard.py") for word in words):
        return "triton's guard"
    return "tritonserver" if words[0].endswith("tritonserver") else "network instance"


def _memory(group: Iterable[psutil.Process]) -> dict[str, int]:
    full = [process.memory_full_info() for process in group]
    return {"rss": sum(info.rss for info in full), "pss": sum(info.pss for info in full)}


_PAGE: Final = """\
# Memory and start-up

Written by `make bench-footprint` on {date}, on a machine with {cores} cores ({cpu}).

Memory in MiB, at rest and after {fields} generated fields. RSS counts shared pages in every process that has them, PSS
divides them among those. What each profile loads: `hemaserve up --help`, and
[decision 14](decisions/0014-profiles.md).

{sections}
The bars: everything of profile tiny below 300 MB (PSS, after work), and detector, classifier and gateway below 200 MiB
resident each where they have processes of their own, both of which tests hold them to; and the stack ready within about
30 s on two cores. A 20 megapixel field takes the detector above its bar while it is at work: 60 MB of decoded pixels,
and what decoding takes.
"""

_SECTION: Final = """\
## {profile}

Ready after **{ready_s} s**; all processes together take **{total_mb} MB** (PSS) after work, which took {work_s} s.

| process | RSS at rest | PSS at rest | RSS after work | PSS after work |
|---|---|---|---|---|
{rows}
"""


def page(figures: list[dict[str, Any]], fields: int) -> str:
    """The figures of all profiles as a page of the documentation."""
    sections = [
        _SECTION.format(
            rows="\n".join(f"| {' | '.join(row)} |" for row in _rows(one)),
            total_mb=round(one["after_work"][ALL]["pss"] / MB),
            **one,
        )
        for one in figures
    ]
    date = datetime.now(UTC).date().isoformat()
    return _PAGE.format(
        sections="\n".join(sections), date=date, cores=psutil.cpu_count(), cpu=cpu(), fields=fields
    )


def _rows(figures: dict[str, Any]) -> Iterator[list[str]]:
    """Process, RSS and PSS at rest, RSS and PSS after work."""
    for name, at_rest in figures["at_rest"].items():
        looks = (at_rest, figures["after_work"].get(name, {}))
        yield [
            name,
            *(f"{look[key] / MIB:.0f}" if key in look else "-" for look in looks for key in ("rss", "pss")),
        ]


def _table(figures: dict[str, Any]) -> Table:
    title = "{profile}: ready after {ready_s} s, {fields} fields in {work_s} s".format(**figures)
    table = Table(title=title, title_justify="left")
    for heading in ("Process", "RSS MiB at rest", "PSS", "RSS MiB after work", "PSS"):
        table.add_column(heading, justify="left" if heading == "Process" else "right")
    for row in _rows(figures):
        table.add_row(*row)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--profile", choices=PROFILES, action="append", help="default: each of them")
    parser.add_argument(
        "--fields", type=int, default=24, help="generated fields to analyse between two looks"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write a page of Markdown")
    arguments = parser.parse_args()
    figures = [measure(profile, arguments.fields) for profile in arguments.profile or PROFILES]
    if arguments.page:
        arguments.page.write_text(page(figures, arguments.fields))
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    for one in figures:
        Console().print(_table(one))


if __name__ == "__main__":
    main()
