"""A real stack with a real Prometheus on it and callers before it, for measurements and tests."""

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from observability import prometheus
from observability.files import read, rule_files, write
from observability.load import Fields, Load
from observability.prometheus import Prometheus
from observability.windows import Scale

READY_TIMEOUT_S: Final = 240.0
STOP_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Trial:
    """What runs.

    Attributes:
        pid: of the stack.
        began: seconds since 1970.
    """

    prometheus: Prometheus
    address: str
    pid: int
    began: float


@contextlib.contextmanager
def stack(folder: Path, **environment: str) -> Iterator[dict[str, Any]]:
    """A stack, really started by `hemaserve up`, while the block runs; gives what its ready file says.

    Args:
        folder: for its files.
        environment: what is added to its environment.

    Raises:
        RuntimeError: it did not get ready.
    """
    ready, said = folder / "ready.json", folder / "up.txt"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = (sys.executable, "-m", "hemaserve.cli", "up", "--address", address, "--ready-file", str(ready))
    with said.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            [*command, "--log-dir", str(folder / "logs")],
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + READY_TIMEOUT_S
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(said.read_text(encoding="utf-8"))
                time.sleep(0.1)
            yield json.loads(ready.read_text(encoding="utf-8"))
        finally:
            process.terminate()
            process.wait(STOP_TIMEOUT_S)


@contextlib.contextmanager
def trial(folder: Path, scale: Scale, *, every_s: float, **environment: str) -> Iterator[Trial]:
    """A stack, and Prometheus that scrapes it every so many seconds, with all rules at this scale."""
    rules = folder / "rules"
    write(rules, rule_files(read(), scale))
    with stack(folder, **environment) as state:
        scraped = prometheus.targets(folder / "ready.json")
        with prometheus.running(folder, scraped, rules=rules, every_s=every_s) as watching:
            yield Trial(watching, state["address"], state["pid"], time.time())


@contextlib.contextmanager
def called(address: str, sent: Fields, pause_s: float) -> Iterator[Load]:
    """Callers, from a thread of their own, while the block runs."""
    load = Load(address, sent, pause_s)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(load.run(),))
    thread.start()
    try:
        yield load
    finally:
        loop.call_soon_threadsafe(load.stop)
        thread.join()
        loop.close()
