"""Makes peers' environments, and runs peers in them."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import psutil

from benchmarks.peers.callers import DOORS, Target
from benchmarks.peers.catalogue import ENVIRONMENTS, HERE, PEERS, Peer
from benchmarks.peers.describing import describe
from benchmarks.peers.ports import free_port
from benchmarks.peers.settings import VARIABLE, Settings

REPOSITORY: Final = HERE.parents[1]
START_S: Final = 120.0
STOP_S: Final = 15.0

_LEAN: Final = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"}
"""Threads of whatever is not a network: none, as in our own stack. How many a network has is in its settings."""


class PeerError(Exception):
    """A peer cannot be installed, does not start, or ended."""


@dataclass(frozen=True, slots=True)
class Running:
    """A peer that answers.

    Attributes:
        target: how it is asked.
        root: its first process.
        log: what its processes print.
    """

    target: Target
    root: psutil.Process
    log: Path

    def processes(self) -> list[psutil.Process]:
        """All its processes."""
        with suppress(psutil.NoSuchProcess):
            return [self.root, *self.root.children(recursive=True)]
        return []


def install(name: str) -> None:
    """Make a peer's environment, as its requirements.txt says.

    Raises:
        PeerError: it cannot be made; what pip said has been printed.
    """
    peer = named(name)
    folder = ENVIRONMENTS / peer.environment
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [
            str(peer.python),
            "-m",
            "pip",
            "--disable-pip-version-check",
            "install",
            "-r",
            str(peer.requirements),
        ],
    ):
        if subprocess.run(command, check=False).returncode:
            raise PeerError(f"{name} cannot be installed: {' '.join(command)} failed")


def named(name: str) -> Peer:
    """A peer.

    Raises:
        PeerError: there is none of that name.
    """
    if name not in PEERS:
        raise PeerError(f"there is no peer {name!r}; there are: {', '.join(PEERS)}")
    return PEERS[name]


@contextmanager
def peer(name: str, settings: Settings | None = None, *, models: Path | None = None) -> Iterator[Running]:
    """Run a peer for the block; it has answered already.

    Args:
        settings: other than the catalogue's.
        models: the model repository; ours by default.

    Raises:
        PeerError: it is not installed, or does not start.
    """
    found = named(name)
    if not found.python.exists():
        raise PeerError(f"{name} is not installed: python -m benchmarks.peers install {name}")
    with tempfile.TemporaryDirectory(prefix=f"hemaserve-{name}-") as folder:
        pipeline = Path(folder) / "pipeline.json"
        describe(models or REPOSITORY / "model_repository").write(pipeline)
        port = free_port()
        told = replace(settings or found.settings, port=port, pipeline=str(pipeline))
        log = Path(folder) / "log.txt"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(found.python), "-m", found.module],
                cwd=REPOSITORY,
                env=_environment(found, told),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        running = Running(Target(name, f"127.0.0.1:{port}"), psutil.Process(process.pid), log)
        try:
            _await_ready(running, process)
            yield running
        finally:
            _stop(running, process)


def _environment(found: Peer, settings: Settings) -> Mapping[str, str]:
    binaries = str(found.python.parent)
    return {
        **{key: value for key, value in os.environ.items() if not key.startswith("HEMASERVE_")},
        **dict.fromkeys(_LEAN, "1"),
        # Frameworks start further processes by name.
        "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(REPOSITORY),
        VARIABLE: settings.to_json(),
    }


def _await_ready(running: Running, process: subprocess.Popen[bytes]) -> None:
    door = DOORS[running.target.name]
    until = time.monotonic() + START_S
    while not _ready(f"http://{running.target.address}{door.ready_path}"):
        if process.poll() is not None or time.monotonic() > until:
            end = running.log.read_text(encoding="utf-8", errors="replace")[-3000:]
            raise PeerError(f"{running.target.name} does not start; the end of what it printed:\n{end}")
        time.sleep(0.2)


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2.0) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _stop(running: Running, process: subprocess.Popen[bytes]) -> None:
    processes = running.processes()
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(STOP_S)
    # Whatever it has left behind.
    for each in processes:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()
