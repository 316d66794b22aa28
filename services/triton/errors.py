"""What Triton's client raises, as domain errors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import structlog
from tritonclient.utils import InferenceServerException

from hemaserve.errors import (
    DeadlineExceeded,
    DomainError,
    Internal,
    NotFound,
    ResourceExhausted,
    Unavailable,
)

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def domain_errors(call: str, model: str) -> AsyncIterator[None]:
    """Turns what tritonclient raises into domain errors, and logs Triton's words, which callers never see."""
    try:
        yield
    except InferenceServerException as error:
        told = domain_error(str(error.status() or ""), error.message() or "")
        level = "error" if isinstance(told, Internal) else "warning"
        getattr(_log, level)(
            "triton_call_failed", call=call, model=model, status=error.status(), message=error.message()
        )
        raise told from error


@asynccontextmanager
async def check_errors(call: str, model: str) -> AsyncIterator[None]:
    """The same of what Triton answers from memory: one that does not in time is away, however long its caller waits."""
    try:
        async with domain_errors(call, model):
            yield
    except DeadlineExceeded as late:
        raise _away() from late


def domain_error(status: str, message: str) -> DomainError:
    """The domain error for a status such as ``StatusCode.UNAVAILABLE`` and Triton's message with it.

    Triton has one status for several things, and only its message tells them apart.
    """
    code = status.removeprefix("StatusCode.")
    if "Exceeds maximum queue size" in message:
        return ResourceExhausted("the network's queue is full")
    if code == grpc.StatusCode.DEADLINE_EXCEEDED.name or "Request timeout expired" in message:
        return DeadlineExceeded("the deadline passed while the network was at work")
    if code == grpc.StatusCode.NOT_FOUND.name:
        return NotFound("no such network is loaded", reason="MODEL_NOT_FOUND")
    # CANCELLED reaches us only when Triton drops a request of its own accord: a cancelled task raises CancelledError.
    # `Stream removed` are gRPC's words for a connection on which something came that cannot be read.
    if (
        code in (grpc.StatusCode.UNAVAILABLE.name, grpc.StatusCode.CANCELLED.name)
        or "Stub process" in message
        or message.startswith("Stream removed")
    ):
        return _away()
    return Internal("a network failed")


def _away() -> Unavailable:
    return Unavailable("the networks are not available at the moment", reason="TRITON_UNAVAILABLE")
