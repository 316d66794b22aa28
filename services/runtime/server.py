"""The one server of all services: gRPC, health, reflection, metrics, logs, and an orderly end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import CollectorRegistry

from hemaserve.errors import Unavailable
from services.runtime.health import HealthWatch
from services.runtime.interceptors import RpcInterceptor
from services.runtime.messages import SoundMessages
from services.runtime.metrics import MetricsEndpoint, RpcMetrics, TlsMetrics
from services.runtime.settings import ServiceSettings
from services.runtime.stages import StageMetrics
from services.runtime.tls_files import TlsFiles

if TYPE_CHECKING:
    from services.runtime.recording import Recorder

_log = structlog.get_logger(__name__)

_LAST_WORDS_S: Final = 1.0
"""What calls that are ended get to tell their callers so."""

_PROBES_AT_ONCE: Final = 16

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


@runtime_checkable
class Guarded(Protocol):
    """An application that has something before its handlers."""

    def interceptors(self, registry: CollectorRegistry) -> Sequence[grpc.aio.ServerInterceptor]:
        """What each call passes on its way in, outermost first; their domain errors become statuses too."""


@runtime_checkable
class Measured(Protocol):
    """An application that has figures of its own."""

    @property
    def metrics(self) -> CollectorRegistry:
        """Where they are; shown together with those of its server."""


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
        OSError: an address is taken, or the files of TLS cannot be used.
    """
    registry = registry or CollectorRegistry()
    metrics = RpcMetrics(registry, name)
    if isinstance(application, Measured):
        # A registry collects like any of its own collectors.
        registry.register(application.metrics)
    inner = application.interceptors(registry) if isinstance(application, Guarded) else ()
    recorder = _recorder(settings, name)
    interceptor = RpcInterceptor(metrics, StageMetrics(registry, name), recorder)
    server = _server(settings, [interceptor, *inner, SoundMessages()])
    watch = HealthWatch(
        application.check,
        application.service_names,
        interval_s=settings.health_interval_s,
        metrics=metrics,
    )
    application.register(server)
    health_pb2_grpc.add_HealthServicer_to_server(watch.servicer, server)
    if settings.reflects:
        _reflect(application, server)
    credentials = None if settings.tls is None else _credentials(settings.tls, registry)
    address = _bind(server, settings.listen, credentials)
    endpoint = MetricsEndpoint(settings.metrics_listen, registry)
    probes = None if settings.health_listen is None else _probes(settings.health_listen, watch)
    await server.start()
    if probes is not None:
        await probes.start()
    watching = asyncio.create_task(watch.run())
    _log.info("listening", name=name, address=address, metrics=endpoint.address, tls=credentials is not None)
    try:
        yield RunningServer(address, endpoint.address)
    finally:
        _log.info("draining", name=name, delay_s=settings.drain_delay_s, grace_s=settings.drain_grace_s)
        await watch.drain()
        watching.cancel()
        await asyncio.sleep(settings.drain_delay_s)
        await _stop(server, interceptor, settings.drain_grace_s)
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        await application.close()
        if recorder is not None:
            await recorder.close()
        endpoint.close()
        if probes is not None:
            await probes.stop(None)
        _log.info("stopped", name=name)


async def _stop(server: grpc.aio.Server, interceptor: RpcInterceptor, grace_s: float) -> None:
    """Accept no more calls, let those in progress finish, and tell those that cannot that they are to go elsewhere."""
    stopping = asyncio.create_task(server.stop(grace_s + _LAST_WORDS_S))
    await asyncio.wait({stopping}, timeout=grace_s)
    if not stopping.done():
        # gRPC would cancel them, and a caller cannot tell that from a call that was given up.
        interceptor.end_calls(
            Unavailable("the service is shutting down", reason="SHUTTING_DOWN", retry_after_s=0.1)
        )
    await stopping


def _server(settings: ServiceSettings, interceptors: Sequence[grpc.aio.ServerInterceptor]) -> grpc.aio.Server:
    options: list[tuple[str, Any]] = [
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        ("grpc.max_send_message_length", settings.max_message_bytes),
        ("grpc.max_metadata_size", METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", METADATA_BYTES),
        # Two servers on one port would share its calls without anybody noticing.
        ("grpc.so_reuseport", 0),
        ("grpc.keepalive_time_ms", 60_000),
        # What has not been asked for is not sent ahead, beyond 64 KiB: a call that is refused at once costs no upload.
        ("grpc.http2.bdp_probe", 0),
        # Callers ask whether this side is alive while they wait for an answer, see hemaserve/balancing.py.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 1_000),
        ("grpc.max_connection_age_ms", round(1000 * settings.connection_age_s)),
        ("grpc.max_connection_age_grace_ms", round(1000 * settings.connection_age_grace_s)),
    ]
    return grpc.aio.server(
        interceptors=interceptors,
        options=options,
        maximum_concurrent_rpcs=settings.max_concurrent_calls,
    )


def _probes(address: str, watch: HealthWatch) -> grpc.aio.Server:
    """A server that answers for health and nothing else, to anybody."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)], maximum_concurrent_rpcs=_PROBES_AT_ONCE)
    health_pb2_grpc.add_HealthServicer_to_server(watch.servicer, server)
    _bind(server, address, None)
    return server


def _reflect(application: Application, server: grpc.aio.Server) -> None:
    health = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
    names = (*application.service_names, health, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)


def _recorder(settings: ServiceSettings, name: str) -> "Recorder | None":
    if not settings.trace_endpoint:
        return None
    # Only where spans are recorded: OpenTelemetry takes its share of the memory.
    from services.runtime.recording import recorder  # noqa: PLC0415

    return recorder(name, endpoint=settings.trace_endpoint, share=settings.trace_share)


def _credentials(files: TlsFiles, registry: CollectorRegistry) -> grpc.ServerCredentials:
    # Only where TLS is used: cryptography takes its share of the memory.
    from services.runtime.tls import WatchedTls, server_credentials  # noqa: PLC0415

    return server_credentials(WatchedTls(files, TlsMetrics(registry)))


def _bind(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> str:
    host, _, _ = address.rpartition(":")
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise OSError(f"cannot listen on {address}: is the port taken?") from error
    return f"{host}:{port}"
