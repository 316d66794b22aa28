"""How requests are read: bytes that are no message are refused, and what is said of a patient is remembered.

gRPC answers bytes that it cannot parse with INTERNAL before a handler is called. They are the caller's mistake, so here
they get as far as the handler's place and are refused there like any other bad request.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from hemaserve.errors import InvalidArgument
from services.runtime import redaction

if TYPE_CHECKING:  # these are generic in the type stubs only
    Handler = grpc.RpcMethodHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, Any]
    Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]

_UNREADABLE: Final = object()


class SoundMessages(grpc.aio.ServerInterceptor):
    """Refuses requests that cannot be parsed with INVALID_ARGUMENT; inside of whoever turns errors into statuses."""

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        handler = await continuation(handler_call_details)
        # gRPC's own services may be written in its older style, which cannot be wrapped like this.
        if handler is None or handler_call_details.method.startswith("/grpc."):
            return handler
        return _guarded(handler)


def _guarded(handler: Handler) -> Handler:
    codec: dict[str, Any] = {
        "request_deserializer": _lenient(handler.request_deserializer or bytes),
        "response_serializer": handler.response_serializer,
    }
    checked: Callable[[Any], Any] = _AllSound if handler.request_streaming else sound
    inner: Any
    if handler.response_streaming:
        inner = handler.stream_stream if handler.request_streaming else handler.unary_stream

        async def stream(request: Any, context: Context) -> AsyncIterator[Any]:
            async for response in inner(checked(request), context):
                yield response

        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(stream, **codec)
        return grpc.unary_stream_rpc_method_handler(stream, **codec)
    inner = handler.stream_unary if handler.request_streaming else handler.unary_unary

    async def unary(request: Any, context: Context) -> Any:
        return await inner(checked(request), context)

    if handler.request_streaming:
        return grpc.stream_unary_rpc_method_handler(unary, **codec)
    return grpc.unary_unary_rpc_method_handler(unary, **codec)


def _lenient(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def parsed(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError:
            return _UNREADABLE

    return parsed


def sound(request: Any) -> Any:
    """A request as the handlers' deserialiser gave it, if it is one.

    Raises:
        InvalidArgument: its bytes were no such message.
    """
    if request is _UNREADABLE:
        raise InvalidArgument(
            "request",
            "bytes that are no such message",
            "a message of the contract",
            reason="REQUEST_UNREADABLE",
        )
    redaction.note(request)
    return request


class _AllSound:
    """The same for a stream; no generator, because that would hold each request until the next one comes."""

    def __init__(self, requests: AsyncIterator[Any]) -> None:
        self._requests = aiter(requests)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        return sound(await anext(self._requests))
