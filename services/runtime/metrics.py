"""The signals of a service's gRPC side, and the endpoint that shows them to Prometheus."""

from importlib.metadata import version
from wsgiref.simple_server import WSGIServer

from prometheus_client import REGISTRY, CollectorRegistry, start_http_server

from services.runtime import signals
from services.runtime.instruments import Counter, Gauge, Histogram
from services.runtime.signal_kinds import Owner


class RpcMetrics:
    """Requests, errors and durations of every RPC, and whether the service is ready.

    Args:
        service: whose they are; any of ours, where it is none of them.
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY, service: str = "") -> None:
        methods = signals.METHODS[Owner(service)] if service in signals.METHODS else signals.METHOD.values
        self.started = Counter(signals.RPC_STARTED, registry, method=methods)
        self.handled = Counter(signals.RPC_HANDLED, registry, method=methods)
        self.in_progress = Gauge(signals.RPC_IN_PROGRESS, registry, method=methods)
        self.duration = Histogram(signals.RPC_DURATION, registry, method=methods)
        self.ready = Gauge(signals.READY, registry).series()
        Gauge(signals.BUILD_INFO, registry).series(version("hemaserve")).set(1)


class TlsMetrics:
    """What to know of the service's certificate before it fails."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.expiry = Gauge(signals.TLS_EXPIRY, registry).series()
        self.reload_failures = Counter(signals.TLS_RELOAD_FAILURES, registry).series()


class MetricsEndpoint:
    """Serves /metrics over HTTP from a thread of its own, with exemplars to whom OpenMetrics is asked by."""

    def __init__(self, address: str, registry: CollectorRegistry = REGISTRY) -> None:
        host, _, port = address.rpartition(":")
        self._server: WSGIServer
        self._server, self._thread = start_http_server(int(port), host, registry)
        self.address = f"{host}:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
