"""The life of a process that serves one service, or several."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from pydantic import ValidationError
from pydantic_settings import CliApp

from services.runtime import logs
from services.runtime.memory import FAST_BYTES, FAST_KEPT_BYTES, return_large_blocks
from services.runtime.server import Application, running
from services.runtime.settings import ServiceSettings

_S = TypeVar("_S", bound=ServiceSettings)

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Service:
    """A service as a process runs it.

    Attributes:
        name: what its logs call it.
        settings: what it was told.
        open_application: makes what it brings of its own; called in the running event loop.
    """

    name: str
    settings: ServiceSettings
    open_application: Callable[[], Awaitable[Application]]


def read_settings(kind: type[_S]) -> _S:
    """Settings from flags and the environment; where they are wrong, the process ends and says which."""
    try:
        return CliApp.run(kind)
    except ValidationError as error:
        for wrong in error.errors(include_url=False, include_input=False):
            where = ".".join(map(str, wrong["loc"]))
            what = wrong["msg"].removeprefix("Value error, ")
            sys.stderr.write(f"error: {where}{': ' if where else ''}{what}\n")
        sys.exit(2)


def run(service: Service) -> None:
    """Serve until SIGTERM or SIGINT, then drain. The whole life of a service's process."""
    logs.configure(service.name, level=service.settings.log_level, style=service.settings.log_format)
    return_large_blocks(FAST_BYTES, FAST_KEPT_BYTES)
    try:
        asyncio.run(until_told_to_stop(serve_all([service])))
    except OSError as error:  # a port that is taken, a file that cannot be used
        sys.exit(f"error: {error}")


async def until_told_to_stop(serving: AbstractAsyncContextManager[None]) -> None:
    """Hold `serving` open until SIGTERM or SIGINT; a signal that comes while it is being opened ends that too."""
    holding = asyncio.create_task(_hold(serving))
    stopped = False

    def stop() -> None:
        nonlocal stopped
        if not stopped:  # a second signal must not cut short what the first one began
            stopped = True
            holding.cancel()

    loop = asyncio.get_running_loop()
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        await holding
    except asyncio.CancelledError:
        if not stopped:
            raise
    finally:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)


async def _hold(serving: AbstractAsyncContextManager[None]) -> None:
    async with serving:
        await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def serve_all(services: Iterable[Service]) -> AsyncIterator[None]:
    """Serve several services in one process, each on its own addresses, with health and metrics of its own.

    On leaving, the last one drains first: list those who call behind those whom they call.
    """
    async with contextlib.AsyncExitStack() as opened:
        for service in services:
            # What a service starts here inherits its name for all that it will ever log.
            with structlog.contextvars.bound_contextvars(service=service.name):
                application = await service.open_application()
                await opened.enter_async_context(
                    running(application, service.settings, name=service.name, registry=_process_registry())
                )
        yield


def _process_registry() -> CollectorRegistry:
    """A registry that knows the figures of the process, as Prometheus' own one does."""
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry
