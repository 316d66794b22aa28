"""A network of a running Triton is made slow: its processes are stopped for most of the time."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Final

import psutil

TURN_S: Final = 0.6
"""Triton gives processes up that do not stir for longer."""


def processes_of(model: str, ancestor: int) -> list[psutil.Process]:
    """The processes, below another, that run a model's instances."""
    found = []
    for process in psutil.Process(ancestor).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            words = process.cmdline()
            # Triton tells each its instance: NAME_0_1 is the second of the first group.
            if "python_backend_stub" in process.name() and any(
                word.startswith(f"{model}_") for word in words
            ):
                found.append(process)
    return found


@contextlib.contextmanager
def slow(model: str, ancestor: int, *, running: float = 0.05) -> Iterator[None]:
    """While the block runs, a model's processes run for this share of the time.

    Args:
        ancestor: process id of what started Triton.

    Raises:
        RuntimeError: nothing runs that model.
    """
    processes = processes_of(model, ancestor)
    if not processes:
        raise RuntimeError(f"nothing below process {ancestor} runs {model}")
    over = threading.Event()

    def alternate() -> None:
        while not over.is_set():
            _send(processes, signal.SIGSTOP)
            over.wait(TURN_S * (1 - running))
            _send(processes, signal.SIGCONT)
            over.wait(TURN_S * running)

    thread = threading.Thread(target=alternate)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        _send(processes, signal.SIGCONT)


def _send(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
