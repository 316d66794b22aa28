"""The one server of all services: gRPC, health, reflection, metrics, logs, and an orderly end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

from services.runtime.health import HealthWatch
from services.runtime.interceptors import RpcInterceptor
from services.runtime.messages import SoundMessages
from services.runtime.metrics import MetricsEndpoint, RpcMetrics
from services.runtime.settings import ServiceSettings

_log = structlog.get_logger(__name__)

METADATA_BYTES: Final = 16 * 2**10
"""Most metadata of one call; gRPC refuses more with RESOURCE_EXHAUSTED before anything of ours sees the call. A token
of an identity provider takes one or two kB."""


class Application(Protocol):
    """What a service brings of its own."""

    @property
    def service_names(self) -> Sequence[str]:
        """Full gRPC names of its services, for health and reflection."""

    def register(self, server: grpc.aio.Server) -> None:
        """Add its servicers."""

    async def check(self) -> None:
        """Raise a domain error while it cannot answer; called about once a second."""

    async def close(self) -> None:
        """Let go of what it holds; called when no call is in progress any more."""


@dataclass(frozen=True, slots=True)
class RunningServer:
    """Where a server can be reached."""

    address: str
    metrics_address: str


@contextlib.asynccontextmanager
async def running(
    application: Application,
    settings: ServiceSettings,
    *,
    name: str,
    registry: CollectorRegistry | None = None,
) -> AsyncIterator[RunningServer]:
    """Serve `application` inside the block; on leaving it, drain: refuse new calls, let the others finish.

    Args:
        registry: where the metrics go; a new one by default, so that several servers fit into one process.

    Raises:
        OSError: an address is taken.
    """
    registry = registry or CollectorRegistry()
    metrics = RpcMetrics(registry)
    server = _server(settings, metrics)
    watch = HealthWatch(
        application.check,
        application.service_names,
        interval_s=settings.health_interval_s,
        metrics=metrics,
    )
    application.register(server)
    health_pb2_grpc.add_HealthServicer_to_server(watch.servicer, server)
    names = (*application.service_names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
    reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
    address = _bind(server, settings.listen)
    endpoint = MetricsEndpoint(settings.metrics_listen, registry)
    await server.start()
    watching = asyncio.create_task(watch.run())
    _log.info("listening", name=name, address=address, metrics=endpoint.address)
    try:
        yield RunningServer(address, endpoint.address)
    finally:
        _log.info("draining", name=name, delay_s=settings.drain_delay_s, grace_s=settings.drain_grace_s)
        await watch.drain()
        watching.cancel()
        await asyncio.sleep(settings.drain_delay_s)
        await server.stop(settings.drain_grace_s)
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        await application.close()
        endpoint.close()
        _log.info("stopped", name=name)


def _server(settings: ServiceSettings, metrics: RpcMetrics) -> grpc.aio.Server:
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.max_metadata_size", METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", METADATA_BYTES),
        # Two servers on one port would share its calls without anybody noticing.
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", 60_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ]
    return grpc.aio.server(
        interceptors=[RpcInterceptor(metrics), SoundMessages()],
        options=options,
        maximum_concurrent_rpcs=settings.max_concurrent_calls,
    )


def _bind(server: grpc.aio.Server, address: str) -> str:
    host, _, _ = address.rpartition(":")
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}: is the port taken?") from error
    return f"{host}:{port}"
