"""An event loop whose time passes only when nothing else is left to do: hours in milliseconds, repeatable."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any
from unittest import mock


class _Jumping(selectors.DefaultSelector):
    """Does not sleep; moves the clock instead."""

    now = 0.0

    def select(self, timeout=None):
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._jumping = _Jumping()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run to the end in virtual time; deadlines follow it. A deadlock is an error, not a hang."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        loop = runner.get_loop()
        with mock.patch("services.runtime.remote.time.monotonic", loop.time):
            return runner.run(_watched(main))


async def _watched(main: Coroutine[Any, Any, Any]) -> Any:
    async with asyncio.timeout(1e6):
        return await main
