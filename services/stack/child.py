"""One process of the stack: started, watched, started again when it dies, stopped."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.stack import launch
from services.stack.plan import Process, environment

POLL_S: Final = 0.1
STABLE_S: Final = 60.0
"""A process that ran this long is no longer counted as failing."""
FIRST_DELAY_S: Final = 0.5
MAX_DELAY_S: Final = 15.0
START_ATTEMPTS: Final = 2
"""A process that dies this often without ever having been ready will not get ready."""


class ChildFailed(Exception):
    """A process ended again and again before it was ever ready."""

    def __init__(self, child: "Child", status: int) -> None:
        super().__init__(f"{child.planned.name} ended with status {status} before it was ready")
        self.child = child


class Child:
    """A process of the stack.

    Args:
        planned: what to run.
        log: file for its output; None leaves it on standard error.
        on_ready: told each time it gets ready, after how many seconds.
        on_death: told each time it dies by itself, with its status.
    """

    def __init__(
        self,
        planned: Process,
        log: Path | None,
        *,
        on_ready: Callable[["Child", float], None],
        on_death: Callable[["Child", int], None],
    ) -> None:
        self.planned = planned
        self.log = log
        self.ready = asyncio.Event()
        self.ready_s: float | None = None
        self.restarts = 0
        self._on_ready = on_ready
        self._on_death = on_death
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """Its process id; None while it does not run."""
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    async def keep_running(self) -> None:
        """Start it, and start it again whenever it dies, until cancelled.

        Raises:
            ChildFailed: it never gets ready.
        """
        delay_s = FIRST_DELAY_S
        deaths = 0
        while True:
            started = time.monotonic()
            status = await self._run_once(started)
            if time.monotonic() - started > STABLE_S:
                delay_s = FIRST_DELAY_S
            deaths += 1
            if self.ready_s is None and deaths >= START_ATTEMPTS:
                raise ChildFailed(self, status)
            self._on_death(self, status)
            await asyncio.sleep(delay_s)
            delay_s = min(2 * delay_s, MAX_DELAY_S)
            self.restarts += 1

    async def stop(self, hurry: asyncio.Event) -> None:
        """End it: SIGTERM, and SIGKILL for all of its group after its time or when there is a hurry."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        gone = asyncio.create_task(process.wait())
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait(
            {gone, hurried}, timeout=self.planned.stop_timeout_s, return_when=asyncio.FIRST_COMPLETED
        )
        hurried.cancel()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await gone

    async def _run_once(self, started: float) -> int:
        # What it prints goes where a reader expects it even when this process is killed: no pipe through us.
        with contextlib.ExitStack() as files:
            output = sys.stderr if self.log is None else files.enter_context(self.log.open("ab"))
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", launch.__file__, str(os.getpid())),
                *self.planned.command,
                env=environment(self.planned),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # A terminal's Ctrl-C is for the stack alone, which then stops its children in order.
                start_new_session=True,
            )
        watch = asyncio.create_task(self._wait_ready(started))
        try:
            return await self._process.wait()
        finally:
            watch.cancel()
            self.ready.clear()

    async def _wait_ready(self, started: float) -> None:
        async with probe_channel(self.planned) as channel:
            check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # set by its __init__
            while not await _serving(check):  # noqa: ASYNC110 - it is another process that changes
                await asyncio.sleep(POLL_S)
        self.ready_s = time.monotonic() - started
        self.ready.set()
        self._on_ready(self, self.ready_s)


_PROBE_OPTIONS: Final = (("grpc.enable_http_proxy", 0), ("grpc.max_reconnect_backoff_ms", 200))


def probe_channel(planned: Process) -> grpc.aio.Channel:
    """A channel to ask a process for its health by."""
    if planned.tls is None:
        return grpc.aio.insecure_channel(planned.address, options=_PROBE_OPTIONS)
    # Only where TLS is used: cryptography takes its share of the memory.
    from services.runtime.tls import channel_credentials, load  # noqa: PLC0415

    # Its address may be one that no certificate is for, such as 0.0.0.0; its name is in its certificate.
    options = (*_PROBE_OPTIONS, ("grpc.ssl_target_name_override", planned.parts[-1].name))
    return grpc.aio.secure_channel(planned.address, channel_credentials(load(planned.tls)), options=options)


async def _serving(
    check: "grpc.aio.UnaryUnaryMultiCallable[health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse]",
) -> bool:
    try:
        response = await check(health_pb2.HealthCheckRequest(), timeout=1.0)
    except grpc.aio.AioRpcError:
        return False
    return response.status == health_pb2.HealthCheckResponse.SERVING
