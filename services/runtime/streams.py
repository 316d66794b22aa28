"""Streams of requests, and when they end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar

from hemaserve.errors import DeadlineExceeded, InvalidArgument
from services.runtime.remote import Deadline

_Request = TypeVar("_Request")


async def unless_idle(requests: AsyncIterator[_Request], idle_s: float) -> AsyncIterator[_Request]:
    """The requests of a stream, as long as none is waited for longer than `idle_s` seconds.

    Raises:
        DeadlineExceeded: nothing came for that long; only time in which a request was waited for counts.
    """
    while True:
        try:
            async with asyncio.timeout(idle_s):
                request = await anext(requests)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise DeadlineExceeded(
                f"nothing came on this stream for {idle_s:g} s", reason="STREAM_IDLE"
            ) from None
        yield request


async def beginning_with(first: _Request, rest: AsyncIterator[_Request]) -> AsyncIterator[_Request]:
    """A stream of which the first request has been read already."""
    yield first
    async for request in rest:
        yield request


async def only(requests: AsyncIterator[_Request]) -> _Request:
    """The one request of a call that is a stream to gRPC alone.

    Raises:
        InvalidArgument: there is none.
    """
    # Left open, gRPC's stream keeps its last message, an image, until cycles are next collected.
    stream: Any = aiter(requests)
    async with aclosing(stream):
        request: _Request | None = await anext(stream, None)
    if request is None:
        raise InvalidArgument("request", "absent", "one message")
    return request


@asynccontextmanager
async def ends_with(deadline: Deadline) -> AsyncIterator[None]:
    """Cancels the work of a stream whose time is over.

    Raises:
        DeadlineExceeded: it is.
    """
    try:
        async with asyncio.timeout(deadline.remaining_s()):
            yield
    except TimeoutError:
        raise DeadlineExceeded("the stream's time is over") from None
