"""The signals of a service's gRPC side, and the endpoint that shows them to Prometheus."""

from typing import Final
from wsgiref.simple_server import WSGIServer

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, start_http_server

LATENCY_BUCKETS_S: Final = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.2,
    0.35,
    0.5,
    0.75,
    1.0,
    1.5,
    2.5,
    5.0,
    10.0,
    30.0,
    120.0,
)


class RpcMetrics:
    """Requests, errors and durations of every RPC; labels: the RPC's full method name, and the status code."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.started = Counter(
            "hemaserve_rpc_started", "RPCs begun.", labelnames=("method",), registry=registry
        )
        self.handled = Counter(
            "hemaserve_rpc_handled",
            "RPCs ended, by status code.",
            labelnames=("method", "code"),
            registry=registry,
        )
        self.in_progress = Gauge(
            "hemaserve_rpc_in_progress", "RPCs in progress.", labelnames=("method",), registry=registry
        )
        self.duration = Histogram(
            "hemaserve_rpc_duration_seconds",
            "Time from an RPC's start to its end, in seconds; for streams, the whole stream.",
            labelnames=("method",),
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.ready = Gauge(
            "hemaserve_ready",
            "1 while the service says SERVING, otherwise 0.",
            registry=registry,
        )


class TlsMetrics:
    """What to know of the service's certificate before it fails."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.expiry = Gauge(
            "hemaserve_tls_certificate_expiry_timestamp_seconds",
            "When the service's certificate ends, in seconds since 1970.",
            registry=registry,
        )
        self.reload_failures = Counter(
            "hemaserve_tls_reload_failures",
            "Changes of certificate files that could not be used.",
            registry=registry,
        )


class MetricsEndpoint:
    """Serves /metrics over HTTP from a thread of its own."""

    def __init__(self, address: str, registry: CollectorRegistry = REGISTRY) -> None:
        host, _, port = address.rpartition(":")
        self._server: WSGIServer
        self._server, self._thread = start_http_server(int(port), host, registry)
        self.address = f"{host}:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
