"""Work in a process of its own, whose time on the processors is counted: load, or networks without services."""

import multiprocessing
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from services.runtime.memory import FAST_BYTES, FAST_KEPT_BYTES, return_large_blocks


class Apart:
    """A process that was told how to do one thing, and does it whenever it is asked. A context manager.

    Args:
        prepare: called in the process with `arguments`, gives what is called for each request; a function of a module.
    """

    def __init__(self, prepare: Callable[..., Callable[..., Any]], *arguments: Any) -> None:
        self._prepare = prepare
        self._arguments = arguments

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(self._prepare, self._arguments, theirs))
        self._process.start()
        theirs.close()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pipe.close()
        self._process.join(2.0)
        self._process.kill()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process.pid is not None
        return self._process.pid

    def do(self, *request: Any, meanwhile: Callable[[], None] | None = None) -> tuple[Any, float]:
        """What the process answers to a request, and the processor seconds that this took.

        Args:
            meanwhile: called twice a second while it is at work.

        Raises:
            SystemExit: the process died; it has told why.
        """
        self._pipe.send(request)
        while not self._pipe.poll(0.5 if meanwhile else None):
            if meanwhile:
                meanwhile()
        try:
            answer, cpu_s = self._pipe.recv()
        except EOFError:
            sys.exit(f"the process that was to {self._prepare.__name__} died")
        return answer, float(cpu_s)


def _work(prepare: Callable[..., Callable[..., Any]], arguments: tuple[Any, ...], pipe: Any) -> None:
    # As a service does: otherwise each message is given back to the system, and all of its pages made anew.
    return_large_blocks(FAST_BYTES, FAST_KEPT_BYTES)
    act = prepare(*arguments)
    while True:
        try:
            request = pipe.recv()
        except EOFError:
            return
        before = time.process_time()
        answer = act(*request)
        pipe.send((answer, time.process_time() - before))
