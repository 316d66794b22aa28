"""The door, in gRPC's words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
from google.rpc import code_pb2

from hemaserve.errors import DomainError
from services.gateway.access.door import Door, Visit
from services.gateway.access.rules import is_open
from services.runtime.messages import sound
from services.runtime.principal import current_principal
from services.runtime.streams import only
from services.runtime.tasks import foremost

_MOMENT_S: Final = 0.005

if TYPE_CHECKING:  # these are generic in the type stubs only
    Handler = grpc.RpcMethodHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, Any]
    from services.runtime.interceptors import Continuation

    Serve = Callable[[AsyncIterator[Any], Context], AsyncGenerator[Any, None]]


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """Lets nobody past the door whom it does not admit; handlers find the caller in `current_principal`.

    To gRPC every RPC is a stream here, and on the wire there is no difference: gRPC reads the message of a unary call
    before it asks the handler, and a stranger's 72 MB would be in memory before it was refused. Messages are taken as
    bytes, because their sizes are known then.
    """

    def __init__(self, door: Door) -> None:
        self._door = door

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        return handler if handler is None or is_open(method) else self._guarded(handler, method)

    def _guarded(self, handler: Handler, method: str) -> Handler:
        serve, parse = _as_stream(handler), handler.request_deserializer or bytes
        streams_in = handler.request_streaming

        async def guarded(raw: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
            visit, outcome = Visit(method, context.peer()), _Outcome()
            # Not in a `finally` here: a generator may be left standing when its caller goes away.
            # The stubs ask for a class of theirs where gRPC takes any callable.
            context.add_done_callback(lambda done: self._door.end(visit, *outcome.of(done)))  # type: ignore[arg-type]
            try:
                metadata = context.invocation_metadata() or ()
                caller = await self._door.admit(visit, metadata, context.auth_context())
                current_principal.set(caller.principal)

                async def messages() -> AsyncIterator[Any]:
                    first = True
                    # Left open, gRPC's stream keeps its last message until cycles are next collected.
                    incoming: Any = aiter(raw)
                    async with aclosing(incoming):
                        async for data in incoming:
                            message = sound(parse(data))
                            left_s = context.time_remaining() if streams_in else 0.0
                            await self._door.let_message_in(
                                visit, message, len(data), first=first, within_s=left_s
                            )
                            yield message
                            first = False
                    if streams_in:
                        # A caller's going away looks like the end of its messages first, and like itself soon after.
                        await asyncio.sleep(_MOMENT_S)

                async with aclosing(serve(messages(), context)) as responses:
                    async for response in responses:
                        yield response
                outcome.well()
            except BaseException as error:
                outcome.note(error, self._door)
                raise
            finally:
                if left := self._door.left(visit):
                    context.set_trailing_metadata((*(context.trailing_metadata() or ()), *left))

        return grpc.stream_stream_rpc_method_handler(
            guarded, request_deserializer=None, response_serializer=handler.response_serializer
        )


class _Outcome:
    """How a call ended, as far as our side of it saw."""

    def __init__(self) -> None:
        self._refusal: tuple[str, str] | None = None
        self._came_to_its_end = False

    def well(self) -> None:
        """The handler has done all that it had to do."""
        self._came_to_its_end = True

    def note(self, error: BaseException, door: Door) -> None:
        """The handler ended with this."""
        told = foremost(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(told, asyncio.CancelledError | GeneratorExit):
            return
        self._came_to_its_end = True
        if isinstance(told, DomainError):
            self._refusal = door.outcome_of(told)
        elif not isinstance(told, grpc.aio.AbortError):
            self._refusal = ("INTERNAL", "INTERNAL")

    def of(self, context: Context) -> tuple[str, str]:
        """Code and reason of the call, when it is done."""
        if self._refusal is not None:
            return self._refusal
        if not self._came_to_its_end:  # also when its generator is left standing
            left_s = context.time_remaining()
            return ("DEADLINE_EXCEEDED" if left_s is not None and left_s <= 0 else "CANCELLED", "")
        code: Any = context.code()  # None where nobody set one, a number or a StatusCode otherwise
        number = code.value[0] if isinstance(code, grpc.StatusCode) else code or 0
        return (code_pb2.Code.Name(number), "")


def _as_stream(handler: Handler) -> Serve:
    """The handler, whatever its kind, as one that takes and gives streams."""
    inner: Any  # the stubs know only servers without an event loop
    if handler.request_streaming:
        inner = handler.stream_stream if handler.response_streaming else handler.stream_unary
        if handler.response_streaming:
            stream: Serve = inner
            return stream

        async def from_stream(requests: AsyncIterator[Any], context: Context) -> AsyncGenerator[Any, None]:
            yield await inner(requests, context)

        return from_stream
    if handler.response_streaming:
        inner = handler.unary_stream

        async def to_stream(requests: AsyncIterator[Any], context: Context) -> AsyncGenerator[Any, None]:
            async with aclosing(inner(await only(requests), context)) as responses:
                async for response in responses:
                    yield response

        return to_stream
    inner = handler.unary_unary

    async def unary(requests: AsyncIterator[Any], context: Context) -> AsyncGenerator[Any, None]:
        yield await inner(await only(requests), context)

    return unary
