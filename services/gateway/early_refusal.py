"""Calls that would be refused for want of room are refused before their images are received."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio

from hemaserve.v1 import gateway_pb2
from services.runtime.admission import Admission
from services.runtime.caller import enter_at_door, told_priority
from services.runtime.remote import Deadline, remaining_s
from services.runtime.streams import only

if TYPE_CHECKING:  # these are generic in the type stubs only
    Handler = grpc.RpcMethodHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, Any]
    Continuation = Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]

_SERVICE: Final = gateway_pb2.DESCRIPTOR.services_by_name["SmearService"].full_name
_METHODS: Final = frozenset(f"/{_SERVICE}/{name}" for name in ("AnalyzeField", "DetectCells", "ExplainCell"))


class EarlyRefusal(grpc.aio.ServerInterceptor):
    """Asks for room as soon as a call comes, where its metadata tell its priority.

    gRPC reads the message of a unary call before it asks the handler, and most of a refusal is that. So to gRPC
    these calls are streams of one message, which is the same on the wire. Whoever is let in asks for room again with
    its message, whose word counts: metadata that say too little or too much gain nothing.

    Args:
        fields: what hands out room.
        default_timeout_s: deadline of a call that has none, in seconds.
    """

    def __init__(self, fields: Admission, *, default_timeout_s: float) -> None:
        self._fields = fields
        self._default_timeout_s = default_timeout_s

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method not in _METHODS:
            return handler
        priority = told_priority(handler_call_details.invocation_metadata or ())
        if priority is None:
            return handler
        serve: Any = handler.unary_unary

        async def unary(messages: AsyncIterator[Any], context: Context) -> Any:
            enter_at_door(context, priority)
            self._fields.check(deadline=Deadline(remaining_s(context, self._default_timeout_s)))
            return await serve(await only(messages), context)

        return grpc.stream_unary_rpc_method_handler(
            unary,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )
