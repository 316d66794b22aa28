"""What the stack costs: time to ready, and memory of each process. `python -m benchmarks.footprint`

Starts a stack on a free port, analyses some generated fields, prints a table and stops the stack. With --json the
figures are printed as JSON, with --page a page of the documentation is written. RSS is resident memory; shared pages
are counted in each process that has them. PSS divides them among the processes, so that its sum is what the machine
really spends.
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.machine import cpu
from hemaserve import synthetic
from hemaserve.client import SyncClient

MIB = 2**20


@contextmanager
def stack(folder: Path) -> Iterator[dict[str, Any]]:
    """Run a stack for the block; gives what its ready file says, with `total_s` since its process was started."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    ready_file = folder / "ready.json"
    started = time.monotonic()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "hemaserve.cli", "up", "--address", address),
            *("--ready-file", str(ready_file), "--log-dir", str(folder)),
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        while not ready_file.exists():
            if process.poll() is not None:
                sys.exit("the stack did not start")
            time.sleep(0.05)
        yield json.loads(ready_file.read_text()) | {"total_s": time.monotonic() - started}
    finally:
        process.terminate()
        process.wait()


def measure(fields: int) -> dict[str, Any]:
    """Start a stack, give it work and look at its processes."""
    with tempfile.TemporaryDirectory() as folder, stack(Path(folder)) as state:
        at_rest = processes(state)
        images = [synthetic.encode_png(synthetic.generate_field(seed).image) for seed in range(fields)]
        with SyncClient(state["address"]) as client:
            client.analyze_smear(images)
        after_work = processes(state)
    ready_s = {name: round(service["ready_s"], 1) for name, service in state["services"].items()}
    return {
        "ready_s": ready_s | {"all": round(state["total_s"], 1)},
        "date": datetime.now(UTC).date().isoformat(),
        "cores": psutil.cpu_count(),
        "cpu": cpu(),
        "fields": fields,
        "at_rest": at_rest,
        "after_work": after_work,
    }


def processes(state: dict[str, Any]) -> dict[str, dict[str, int]]:
    """Memory in MiB by process; what a service starts itself (tritonserver, its model instances) is one entry more."""
    found = {"stack": _memory([psutil.Process(state["pid"])])}
    for name, service in state["services"].items():
        process = psutil.Process(service["pid"])
        found[name] = _memory([process])
        if below := process.children(recursive=True):
            found[f"{name}'s {len(below)} processes"] = _memory(below)
    return found


def _memory(group: list[psutil.Process]) -> dict[str, int]:
    full = [process.memory_full_info() for process in group]
    return {
        "rss_mib": round(sum(info.rss for info in full) / MIB),
        "pss_mib": round(sum(info.pss for info in full) / MIB),
    }


_PAGE = """\
# Memory and start-up

Written by `make bench` on {date}, on a machine with {cores} cores ({cpu}).
`hemaserve up` was ready after **{ready_s[all]} s**.

Memory in MiB, at rest and after {fields} generated fields. RSS counts shared pages in every process that has them, PSS
divides them among those.

| process | ready, s | RSS at rest | PSS at rest | RSS after work | PSS after work |
|---|---|---|---|---|---|
{rows}

The bars: detector, classifier and gateway below 200 MiB resident each, which a test holds them to, and the stack ready
within about 30 s on two cores. A 20 megapixel field takes the detector above its bar while it is at work: 60 MB of
decoded pixels, and what decoding takes.
"""


def page(figures: dict[str, Any]) -> str:
    """The figures as a page of the documentation."""
    rows = "\n".join(f"| {' | '.join(row)} |" for row in _rows(figures))
    return _PAGE.format(rows=rows, **figures)


def _rows(figures: dict[str, Any]) -> Iterator[list[str]]:
    """Process, seconds to ready, RSS and PSS at rest, RSS and PSS after work."""
    unknown = {"rss_mib": "-", "pss_mib": "-"}
    for name, at_rest in figures["at_rest"].items():
        after = figures["after_work"].get(name, unknown)
        memory = (at_rest["rss_mib"], at_rest["pss_mib"], after["rss_mib"], after["pss_mib"])
        yield [name, str(figures["ready_s"].get(name, "")), *map(str, memory)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--fields", type=int, default=24, help="generated fields to analyse between two looks"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write a page of Markdown")
    arguments = parser.parse_args()
    figures = measure(arguments.fields)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    if arguments.page:
        arguments.page.write_text(page(figures))
    table = Table(title=f"ready after {figures['ready_s']['all']} s", title_justify="left")
    for heading in (
        "Process",
        "Ready s",
        "RSS MiB at rest",
        "PSS",
        f"RSS MiB after {arguments.fields} fields",
        "PSS",
    ):
        table.add_column(heading, justify="left" if heading == "Process" else "right")
    for row in _rows(figures):
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
