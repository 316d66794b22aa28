"""What happens around every RPC: counting, timing, logging, and turning errors into statuses."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
import structlog

from hemaserve.errors import DomainError, Internal
from services.runtime import redaction, stages, tracing
from services.runtime.errors import CODE_BY_NUMBER, to_status
from services.runtime.metrics import RpcMetrics
from services.runtime.stages import StageMetrics
from services.runtime.tasks import foremost

_log = structlog.get_logger(__name__)

if TYPE_CHECKING:
    from services.runtime.recording import RecordedSpan, Recorder

    # These are generic in the type stubs only.
    Handler = grpc.RpcMethodHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, Any]
    Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]


class RpcInterceptor(grpc.aio.ServerInterceptor):
    """Wraps every handler: domain errors become statuses with details, anything else INTERNAL with an incident id.

    Health is left alone: probes would drown the figures.

    Args:
        metrics: of the calls.
        stages: of the work on them.
        recorder: records them as spans; None records nothing.
    """

    def __init__(
        self,
        metrics: RpcMetrics,
        stages: StageMetrics,
        recorder: Recorder | None = None,
        *,
        quiet_prefixes: tuple[str, ...] = ("/grpc.health.",),
    ) -> None:
        self._metrics = metrics
        self._stages = stages
        self._recorder = recorder
        self._quiet_prefixes = quiet_prefixes
        self._in_progress: set[asyncio.Task[Any]] = set()
        self._end: DomainError | None = None

    def end_calls(self, error: DomainError) -> None:
        """End all calls in progress with this error."""
        self._end = error
        for task in self._in_progress:
            task.cancel()

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(self._quiet_prefixes):
            return handler
        redaction.begin_call()
        return self._wrap(handler, method)

    def _wrap(self, handler: Handler, method: str) -> Handler:
        codec = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        inner: Any
        if handler.response_streaming:
            inner = handler.stream_stream if handler.request_streaming else handler.unary_stream

            async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
                with self._observed(method, context) as call:
                    try:
                        with self._ended_in_order():
                            async for response in inner(request, context):
                                yield response
                    except Exception as error:
                        call.refuse(error, context)

            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return make(stream, **codec)
        inner = handler.stream_unary if handler.request_streaming else handler.unary_unary

        async def unary(request: Any, context: Context) -> Any:
            with self._observed(method, context) as call:
                try:
                    with self._ended_in_order():
                        return await inner(request, context)
                except Exception as error:
                    call.refuse(error, context)
            return None  # gRPC sends none where there is an error

        make_unary = (
            grpc.stream_unary_rpc_method_handler
            if handler.request_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        return make_unary(unary, **codec)

    @contextmanager
    def _ended_in_order(self) -> Iterator[None]:
        """Turns the end that `end_calls` puts to the call in the block into its error."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a call is served outside a task")
        self._in_progress.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if self._end is None:
                raise
            task.uncancel()
            raise self._end from None
        finally:
            self._in_progress.discard(task)

    @contextmanager
    def _observed(self, method: str, context: Context) -> Iterator[_Call]:
        metrics, call, start = self._metrics, _Call(method), time.perf_counter()
        span = self._enter(method, context)
        metrics.started.inc(method)
        metrics.in_progress.series(method).inc()
        try:
            yield call
        except (asyncio.CancelledError, GeneratorExit):
            call.code = grpc.StatusCode.CANCELLED
            raise
        finally:
            seconds = time.perf_counter() - start
            metrics.in_progress.series(method).dec()
            metrics.handled.inc(method, call.code.name)
            metrics.duration.observe(seconds, method)
            if span is not None:
                span.end_call(call.code)
            _log.debug("rpc", method=method, code=call.code.name, seconds=round(seconds, 4))

    def _enter(self, method: str, context: Context) -> RecordedSpan | None:
        """Where in which trace the call is, and whose stages its work has; its span if it is recorded."""
        stages.enter_call(self._stages)
        place, span = tracing.context_of(context.invocation_metadata() or ()), None
        if self._recorder is not None:
            place, span = self._recorder.call(method, place)
        tracing.enter_call(place, span)
        return span


class _Call:
    """One RPC on its way through a service."""

    def __init__(self, method: str) -> None:
        self.method = method
        self.code = grpc.StatusCode.OK

    def refuse(self, error: Exception, context: Context) -> None:
        """Have the RPC end with the status for `error`, once its handler returns.

        Not by abort: gRPC keeps what that raises, and so the call with all that was received of it and all that frames
        hold, until cycles are next collected. Of refused fields of 64 MB a gigabyte was seen.
        """
        if isinstance(error, grpc.aio.AbortError):
            raise error
        told = foremost(error) if isinstance(error, BaseExceptionGroup) else error
        if not isinstance(told, DomainError):
            incident = uuid.uuid4().hex
            _log.error("unexpected error", method=self.method, incident=incident, exc_info=error)
            told = Internal(f"an unexpected error; incident {incident}")
        status = to_status(told)
        self.code = CODE_BY_NUMBER[status.code]
        # Who is too busy counts what it refuses, and does not write a line for each.
        log = _log.debug if self.code is grpc.StatusCode.RESOURCE_EXHAUSTED else _log.info
        log("refused", method=self.method, code=self.code.name, reason=told.reason)
        context.set_code(self.code)
        context.set_details(status.message)
        details = ("grpc-status-details-bin", status.SerializeToString())
        # What others have to say at the end of a call goes with it.
        context.set_trailing_metadata((*(context.trailing_metadata() or ()), details))
        _forget_frames(error)


def _forget_frames(error: BaseException) -> None:
    """Let go of what the frames hold that an exception came through: some of them hold the exception in turn."""
    seen: set[int] = set()
    found: list[BaseException | None] = [error]
    while found:
        one = found.pop()
        # Exceptions may lead back to each other.
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        one.__traceback__ = None
        found += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            found += one.exceptions
