"""An event loop on which waiting takes no time: what asyncio code does, in the order and at the times of a simulation.

So the services' own schedulers (`services.runtime.admission`, `services.triton.pace`) take part as they are, and not a
copy of them in the terms of some simulation library. See docs/decisions/0027-simulated-time.md.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from services.runtime.remote import Deadline

_T = TypeVar("_T")


class Stalled(RuntimeError):
    """Everybody waits for somebody else: a mistake in what is simulated."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock begins at 0 s and leaps to what is due next. Nothing outside of it is waited for."""

    def __init__(self) -> None:
        self._virtual_s = 0.0
        super().__init__(_Leaping(self._leap))

    def time(self) -> float:
        """Seconds since the simulation began."""
        return self._virtual_s

    def _leap(self, seconds: float) -> None:
        self._virtual_s += seconds


class _Leaping(selectors.SelectSelector):
    def __init__(self, leap: Callable[[float], None]) -> None:
        super().__init__()
        self._leap = leap

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stalled("nothing is due any more, and the simulation has not ended")
        self._leap(timeout)
        return []


def simulate(main: Coroutine[Any, Any, _T]) -> _T:
    """What a coroutine returns when it runs on virtual time."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(main)


def now_s() -> float:
    """Seconds since the simulation began that the running task belongs to."""
    return asyncio.get_running_loop().time()


class VirtualDeadline(Deadline):
    """A deadline on the clock of the running loop."""

    def __init__(self, timeout_s: float) -> None:
        super().__init__(timeout_s)
        self._at = now_s() + timeout_s

    def left_s(self) -> float:
        """Seconds left; less than 0 when it has passed."""
        return self._at - now_s()
