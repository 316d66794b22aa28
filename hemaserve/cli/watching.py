"""Running something long against a stack: a progress bar, and Ctrl-C that ends it with what is there."""

import asyncio
import contextlib
import signal
from collections.abc import Awaitable
from typing import Protocol, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hemaserve.cli import connection
from hemaserve.cli.console import err
from hemaserve.client import Client
from hemaserve.evaluation.asking import OnProgress

Result_co = TypeVar("Result_co", covariant=True)
Result = TypeVar("Result")


class Watchable(Protocol[Result_co]):
    """Work that is ready but for the client and for how it is watched and stopped."""

    def __call__(
        self, client: Client, *, stop: asyncio.Event, on_progress: OnProgress
    ) -> Awaitable[Result_co]: ...


async def watch(run: Watchable[Result], address: str, *, doing: str) -> Result:
    """Run it under a progress bar that says what is being done; Ctrl-C ends it with what there is until then."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Where the loop cannot take signals (Windows), Ctrl-C ends the command without a result.
    with contextlib.suppress(NotImplementedError):
        loop.add_signal_handler(signal.SIGINT, stop.set)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task(doing, total=None)

        def on_progress(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        async with connection.client(address) as client:
            return await run(client, stop=stop, on_progress=on_progress)
