"""Records spans with OpenTelemetry and sends them off by OTLP. Imported only where `trace_endpoint` is set.

Nothing of a request gets into a span but what our own code notes there, and that passes `services.runtime.redaction` as
log records do. Exceptions are told by their codes, never by their words.
"""

from __future__ import annotations

import asyncio
from typing import Final

import grpc
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from services.runtime.errors import code_of
from services.runtime.redaction import redacted
from services.runtime.tracing import TraceContext

_EXPORT_TIMEOUT_S: Final = 5.0
_OURS: Final = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)
"""Codes that make a call's span an error, by OpenTelemetry's conventions for servers: the others blame callers."""


class RecordedSpan:
    """A span that is recorded."""

    __slots__ = ("_span", "_tracer", "context")

    def __init__(self, tracer: trace.Tracer, span: trace.Span) -> None:
        self._tracer = tracer
        self._span = span
        self.context = _told(span)

    def child(self, name: str) -> RecordedSpan:
        """A span below this one, which begins now."""
        return self._below(name, trace.SpanKind.INTERNAL)

    def calling(self, method: str) -> RecordedSpan:
        """A span below this one for a call of another service, which begins now."""
        span = self._below(method, trace.SpanKind.CLIENT)
        span.note_method(method)
        return span

    def note(self, name: str, value: str | float | bool) -> None:
        """Add an attribute."""
        self._span.set_attribute(name, redacted(value))

    def note_method(self, method: str) -> None:
        """Say which method is called."""
        service, _, name = method.partition("/")
        self.note("rpc.system", "grpc")
        self.note("rpc.service", service)
        self.note("rpc.method", name)

    def end(self, error: BaseException | None = None) -> None:
        """It ends now, by this error or in order."""
        if isinstance(error, Exception):
            self._span.set_status(trace.StatusCode.ERROR, code_of(error).name)
        self._span.end()

    def end_call(self, code: grpc.StatusCode) -> None:
        """The call ends now, with this status."""
        self.note("rpc.grpc.status_code", code.value[0])
        if code in _OURS:
            self._span.set_status(trace.StatusCode.ERROR, code.name)
        self._span.end()

    def _below(self, name: str, kind: trace.SpanKind) -> RecordedSpan:
        context = trace.set_span_in_context(self._span, Context())
        return RecordedSpan(self._tracer, self._tracer.start_span(name, context, kind))


class Recorder:
    """Records the spans of one service.

    Args:
        service: its name.
        share: of the traces that begin here, how many are recorded, 0 to 1; where a caller began one, the caller says.
        exporter: takes the spans.
    """

    def __init__(self, service: str, *, share: float, exporter: SpanExporter) -> None:
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(share)),
            resource=Resource({"service.name": f"hemaserve-{service}"}),
            span_limits=SpanLimits(max_span_attributes=16, max_events=0, max_links=0),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("hemaserve")

    def call(self, method: str, caller: TraceContext | None) -> tuple[TraceContext, RecordedSpan | None]:
        """A call begins: where it is in its trace, and its span if that is recorded.

        Args:
            method: full name of the method, with a leading slash.
            caller: where the caller is.
        """
        context = Context() if caller is None else trace.set_span_in_context(_remote(caller), Context())
        name = method.removeprefix("/")
        span = self._tracer.start_span(name, context, trace.SpanKind.SERVER)
        if not span.is_recording():
            return _told(span), None
        recorded = RecordedSpan(self._tracer, span)
        recorded.note_method(name)
        return recorded.context, recorded

    async def close(self) -> None:
        """Send off what is left, for a few seconds at most."""
        await asyncio.to_thread(self._provider.shutdown)


def recorder(service: str, *, endpoint: str, share: float) -> Recorder:
    """What sends spans to `http://host:port` or, with TLS, `https://host:port`, by OTLP over gRPC."""
    exporter = OTLPSpanExporter(
        endpoint=endpoint, insecure=endpoint.startswith("http://"), timeout=_EXPORT_TIMEOUT_S
    )
    return Recorder(service, share=share, exporter=exporter)


def _told(span: trace.Span) -> TraceContext:
    said = span.get_span_context()
    return TraceContext(
        trace.format_trace_id(said.trace_id), trace.format_span_id(said.span_id), said.trace_flags.sampled
    )


def _remote(caller: TraceContext) -> trace.Span:
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if caller.sampled else trace.TraceFlags.DEFAULT)
    said = trace.SpanContext(
        int(caller.trace_id, 16), int(caller.span_id, 16), is_remote=True, trace_flags=flags
    )
    return trace.NonRecordingSpan(said)
