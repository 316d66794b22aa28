"""Where in which trace the running task is: taken from callers, passed on, told in logs, and recorded where asked for.

What callers say travels in gRPC metadata as W3C's trace context does (https://www.w3.org/TR/trace-context/). Of it only
ids and the flag are taken: what `tracestate` carries may say anything, and so goes no further. Recording is
`services.runtime.recording`, which is imported only where it is set up; without it nothing here costs more than a look
at a context variable.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, MutableMapping
from contextvars import ContextVar, Token
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import grpc

from services.runtime.errors import code_of

if TYPE_CHECKING:
    from services.runtime.recording import RecordedSpan

TRACEPARENT: Final = "traceparent"
"""gRPC metadata key of the trace context."""

_VERSION_0: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_LATER_VERSION: Final = re.compile(
    r"(?!00|ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)
_SAMPLED: Final = 0x01


@dataclass(frozen=True, slots=True)
class TraceContext:
    """A place in a trace.

    Attributes:
        trace_id: of the trace, 32 hexadecimal digits.
        span_id: of the span that goes on at that place, 16 hexadecimal digits.
        sampled: whether the trace is recorded.
    """

    trace_id: str
    span_id: str
    sampled: bool

    @property
    def header(self) -> str:
        """As W3C writes it."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


def read_traceparent(text: str) -> TraceContext | None:
    """The place that a `traceparent` names; None where it is none."""
    found = _VERSION_0.fullmatch(text) or _LATER_VERSION.fullmatch(text)
    if found is None:
        return None
    trace_id, span_id, flags = found.groups()
    if int(trace_id, 16) == 0 or int(span_id, 16) == 0:
        return None
    return TraceContext(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def context_of(metadata: Iterable[tuple[str, str | bytes]]) -> TraceContext | None:
    """The place that a call's metadata name; None where they name none, or several."""
    said = [value for key, value in metadata if key == TRACEPARENT]
    return read_traceparent(said[0]) if len(said) == 1 and isinstance(said[0], str) else None


@dataclass(frozen=True, slots=True)
class _Here:
    """Where the running task is.

    Attributes:
        context: what calls of others are told; None outside of traces.
        span: what is recorded; None where nothing is.
    """

    context: TraceContext | None = None
    span: RecordedSpan | None = None


_NOWHERE: Final = _Here()
_here: Final[ContextVar[_Here]] = ContextVar("here", default=_NOWHERE)


def enter_call(context: TraceContext | None, span: RecordedSpan | None) -> None:
    """From here on, this task and those that it starts serve a call at this place of a trace."""
    _here.set(_Here(context, span))


def current_context() -> TraceContext | None:
    """Where the running task is; None outside of traces."""
    return _here.get().context


def note(**attributes: str | float | bool) -> None:
    """Add attributes to the span at hand; double underscores in names stand for dots."""
    if (span := _here.get().span) is not None:
        for name, value in attributes.items():
            span.note(name.replace("__", "."), value)


class Within:
    """A span for a block, below the one at hand; nothing where that is not recorded."""

    __slots__ = ("_name", "_span", "_token")

    def __init__(self, name: str) -> None:
        self._name = name
        self._span: RecordedSpan | None = None
        self._token: Token[_Here] | None = None

    def __enter__(self) -> Self:
        if (above := _here.get().span) is not None:
            self._span = above.child(self._name)
            self._token = _here.set(_Here(self._span.context, self._span))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._span is not None and self._token is not None:
            self._span.end(error)
            # What is left standing at a yield is ended by another task than began it.
            with contextlib.suppress(ValueError):
                _here.reset(self._token)


class Calling:
    """A span for a call of another service, below the one at hand, and what that service is to be told.

    Other than with `Within`, what happens in the block does not happen below it, so that it may be left standing at a
    yield.

    Args:
        method: full name of the method, without a leading slash.
        attributes: of the span, beside those of every call.
    """

    __slots__ = ("_attributes", "_method", "_span", "metadata", "sampled")

    def __init__(self, method: str, **attributes: str | float | bool) -> None:
        self._method = method
        self._attributes = attributes
        self._span: RecordedSpan | None = None
        self.metadata: tuple[tuple[str, str], ...] = ()
        self.sampled = False

    def __enter__(self) -> Self:
        here = _here.get()
        context = here.context
        if here.span is not None:
            self._span = here.span.calling(self._method)
            for name, value in self._attributes.items():
                self._span.note(f"hemaserve.{name}", value)
            context = self._span.context
        if context is not None:
            self.metadata, self.sampled = ((TRACEPARENT, context.header),), context.sampled
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._span is not None:
            self._span.end_call(_code(error))


def _code(error: BaseException | None) -> grpc.StatusCode:
    """The status that a call of another service ended with, which came out as this error."""
    if error is None:
        return grpc.StatusCode.OK
    return code_of(error) if isinstance(error, Exception) else grpc.StatusCode.CANCELLED


def exemplar() -> dict[str, str] | None:
    """What tells a value in a metric from which trace it is; None where nothing is recorded."""
    span = _here.get().span
    return None if span is None else {"trace_id": span.context.trace_id, "span_id": span.context.span_id}


def add_to_record(_logger: Any, _method: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog's processor: tells in which trace a record was made."""
    if (context := _here.get().context) is not None:
        record["trace_id"], record["span_id"] = context.trace_id, context.span_id
    return record
