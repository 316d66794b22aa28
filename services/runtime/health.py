"""Health that is true: a service says SERVING only while its application's check passes."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import structlog
from grpc_health.v1 import health, health_pb2

from hemaserve.errors import DomainError
from services.runtime.metrics import RpcMetrics

_log = structlog.get_logger(__name__)

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING

ALIVE: Final = "alive"
"""Name whose health is SERVING until the process drains, whatever its check finds: for liveness probes, because to
start a service anew makes nothing better that is wrong with those whom it calls."""


class HealthWatch:
    """Runs a check over and over and tells the health servicer of what it finds.

    Args:
        check: raises a domain error while the service cannot answer.
        service_names: full gRPC names to speak for; the empty name (the server as a whole) is always among them.
        interval_s: pause between checks, and the time that one check may take.
    """

    def __init__(
        self,
        check: Callable[[], Awaitable[None]],
        service_names: Sequence[str],
        *,
        interval_s: float,
        metrics: RpcMetrics,
    ) -> None:
        self.servicer = health.aio.HealthServicer()
        self._check = check
        self._names = ("", *service_names)
        self._interval_s = interval_s
        self._metrics = metrics
        self._serving: bool | None = None
        self._draining = False

    async def run(self) -> None:
        """Watch until cancelled."""
        await self.servicer.set(ALIVE, SERVING)
        await self._tell(serving=False)
        while not self._draining:
            await self._tell(serving=await self._passes())
            await asyncio.sleep(self._interval_s)

    async def drain(self) -> None:
        """Say NOT_SERVING from now on, whatever checks find."""
        self._draining = True
        await self.servicer.enter_graceful_shutdown()
        self._metrics.ready.set(0)

    async def _passes(self) -> bool:
        try:
            async with asyncio.timeout(max(self._interval_s, 1.0)):
                await self._check()
        except DomainError as error:
            reason = error.message
        except TimeoutError:
            reason = "the check did not end in time"
        except Exception:
            _log.exception("the health check itself failed")
            reason = "the check failed"
        else:
            return True
        if self._serving is not False:
            _log.warning("not ready", why=reason)
        return False

    async def _tell(self, *, serving: bool) -> None:
        if serving == self._serving or self._draining:
            return
        if serving:
            _log.info("ready")
        self._serving = serving
        self._metrics.ready.set(int(serving))
        for name in self._names:
            await self.servicer.set(name, SERVING if serving else NOT_SERVING)
