"""Collectors of spans, as they are sent by OTLP: over gRPC by our services, over HTTP by Triton."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc


@dataclass(frozen=True)
class Seen:
    """A span that arrived."""

    service: str
    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    began_s: float
    ended_s: float
    attributes: dict[str, object]
    error: bool

    @property
    def seconds(self) -> float:
        return self.ended_s - self.began_s


@dataclass
class Collector:
    """What arrived.

    Attributes:
        endpoint: for `trace_endpoint`.
        url: for Triton's `trace_url`.
    """

    endpoint: str = ""
    url: str = ""
    requests: list[trace_service_pb2.ExportTraceServiceRequest] = field(default_factory=list)

    @property
    def said(self) -> str:
        """All of it, as text."""
        return "\n".join(str(request) for request in list(self.requests))

    @property
    def spans(self) -> list[Seen]:
        return [span for request in list(self.requests) for span in _spans(request)]


def _spans(request: trace_service_pb2.ExportTraceServiceRequest) -> Iterator[Seen]:
    for of_resource in request.resource_spans:
        resource = _plain(of_resource.resource.attributes)
        for scope in of_resource.scope_spans:
            for span in scope.spans:
                yield Seen(
                    service=str(resource.get("service.name", "")),
                    name=span.name,
                    kind=span.kind,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent_id=span.parent_span_id.hex(),
                    began_s=span.start_time_unix_nano / 1e9,
                    ended_s=span.end_time_unix_nano / 1e9,
                    attributes=_plain(span.attributes),
                    error=span.status.code == span.status.STATUS_CODE_ERROR,
                )


def _plain(attributes) -> dict[str, object]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value") for each in attributes
    }


def _of_json(body: bytes) -> trace_service_pb2.ExportTraceServiceRequest:
    """OTLP's JSON is protobuf's, but for ids, which are hexadecimal."""

    def with_ids(message: dict[str, object]) -> dict[str, object]:
        ids = {"traceId", "spanId", "parentSpanId"} & message.keys()
        return message | {key: base64.b64encode(bytes.fromhex(str(message[key]))).decode() for key in ids}

    told = json.loads(body, object_hook=with_ids)
    return json_format.ParseDict(
        told, trace_service_pb2.ExportTraceServiceRequest(), ignore_unknown_fields=True
    )


class _Service(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def Export(self, request, context):
        self._collector.requests.append(request)
        return trace_service_pb2.ExportTraceServiceResponse()


@contextlib.contextmanager
def collecting() -> Iterator[Collector]:
    """A collector, of both sorts, inside the block."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            collector.requests.append(_of_json(self._body()))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _body(self) -> bytes:
            return self.rfile.read(int(self.headers["Content-Length"]))

        def log_message(self, *args: object) -> None:
            pass

    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(_Service(collector), server)
    collector.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{http.server_port}/v1/traces"
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    server.start()
    thread.start()
    try:
        yield collector
    finally:
        server.stop(0)
        http.shutdown()
        http.server_close()
        thread.join()
