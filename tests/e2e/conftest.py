"""A whole stack, really started by `hemaserve up`, and the command to use it with."""

import contextlib
import functools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

COMMAND = (sys.executable, "-m", "hemaserve.cli")
READY_TIMEOUT_S = 240.0


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = READY_TIMEOUT_S) -> Any:
    """Wait for a condition of other processes; gives its value."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s:g} s"
        time.sleep(0.1)
    return value


@dataclass(frozen=True)
class Stack:
    """A stack that `hemaserve up` runs."""

    process: "subprocess.Popen[str]"
    address: str
    ready_file: Path
    log_dir: Path
    profiles: Path

    def state(self) -> dict[str, Any]:
        return json.loads(self.ready_file.read_text())

    def pid(self, service: str) -> int:
        return self.state()["services"][service]["pid"]

    def processes(self) -> list[psutil.Process]:
        """All processes of the stack, its own first."""
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]


def _free_address() -> str:
    # None that an outgoing connection may be given before the stack listens, nor one that a stack gives to its parts.
    for port in random.sample(range(10_000, 20_000), 100):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return f"127.0.0.1:{port}"
    raise OSError("no port is free")


@pytest.fixture
def free_address() -> str:
    return _free_address()


@contextlib.contextmanager
def running_stack(folder: Path, *words: object) -> Iterator[Stack]:
    address = _free_address()
    ready_file, log_dir, profiles = folder / "ready.json", folder / "logs", folder / "profiles"
    output = (folder / "up.txt").open("w")
    process = subprocess.Popen(
        [
            *(*COMMAND, "up", "--address", address, "--profiles", str(profiles)),
            *("--ready-file", str(ready_file), "--log-dir", str(log_dir), *map(str, words)),
        ],
        stdout=output,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said = folder / "up.txt"
    try:
        wait_until(lambda: ready_file.exists() or process.poll() is not None, "the stack is ready")
        assert process.poll() is None, said.read_text()
        yield Stack(process, address, ready_file, log_dir, profiles)
    finally:
        output.close()
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(120)


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running_stack(tmp_path_factory.mktemp("stack")) as running:
        yield running


@pytest.fixture
def own_stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack for tests that stop it."""
    with running_stack(tmp_path) as running:
        yield running


def run_command(stack: Stack, folder: Path, *words: object) -> "subprocess.CompletedProcess[str]":
    """Run the command in a folder, against a stack."""
    return subprocess.run(
        [*COMMAND, *map(str, words)],
        env=os.environ | {"HEMASERVE_ADDRESS": stack.address, "COLUMNS": "120"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.fixture
def hemaserve(stack: Stack, tmp_path: Path) -> "Callable[..., subprocess.CompletedProcess[str]]":
    """Run the command against the stack."""
    return functools.partial(run_command, stack, tmp_path)
