"""Starting the stack as a process of its own: this package knows only its command line."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NoReturn

from hemaserve.cli.exits import ExitCode

_POLL_S: Final = 0.2
_STOP_TIMEOUT_S: Final = 60.0


class StackFailed(Exception):
    """The stack ended before it was ready; it has said why on standard error.

    Attributes:
        code: the exit code that says the same.
    """

    def __init__(self, code: ExitCode) -> None:
        super().__init__("the stack did not start")
        self.code = code


def stack_command(arguments: Sequence[str]) -> list[str]:
    """The command line that runs the stack."""
    return [sys.executable, "-m", "services.stack", *arguments]


def become_stack(arguments: Sequence[str]) -> NoReturn:
    """Replace this process with the stack: its signals and its exit status are then the command's own."""
    command = stack_command(arguments)
    sys.stdout.flush()
    os.execv(command[0], command)  # noqa: S606


@contextlib.contextmanager
def running_stack(address: str, profile: str | None = None) -> Iterator[None]:
    """Run a stack of this profile (None: the default one) at `address` for the duration of the block.

    Raises:
        StackFailed: it did not start.
    """
    with tempfile.TemporaryDirectory(prefix="hemaserve-") as folder:
        ready_file = Path(folder) / "ready.json"
        arguments = ["--address", address, "--ready-file", str(ready_file)]
        if profile is not None:
            arguments += ["--profile", profile]
        # In a session of its own: Ctrl-C is for the command, which then stops the stack.
        process = subprocess.Popen(stack_command(arguments), start_new_session=True)
        try:
            _wait_ready(process, ready_file)
            yield
        finally:
            _stop(process)


def _wait_ready(process: "subprocess.Popen[bytes]", ready_file: Path) -> None:
    # The stack itself gives up after its time.
    while not ready_file.exists():
        if process.poll() is not None:
            known = process.returncode in set(ExitCode)
            raise StackFailed(ExitCode(process.returncode) if known else ExitCode.FAILED)
        time.sleep(_POLL_S)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(_STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()  # its children end with it
        process.wait()
