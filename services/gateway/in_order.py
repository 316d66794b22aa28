"""Several requests of one stream at work at a time, answered in their order."""

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from services.runtime.tasks import task_group

_Request = TypeVar("_Request")
_Answer = TypeVar("_Answer")


async def answer_in_order(
    requests: AsyncIterable[_Request],
    answer: Callable[[_Request], Coroutine[Any, Any, _Answer]],
    send: Callable[[_Answer], Awaitable[None]],
    *,
    at_once: int,
) -> None:
    """Answer each request and send the answers in the order of the requests.

    A request keeps its place among the `at_once` until its answer is sent, and none is read while all are taken. The
    first error ends it all; what is still in progress then is cancelled.
    """
    places = asyncio.Semaphore(at_once)
    begun: asyncio.Queue[asyncio.Task[_Answer] | None] = asyncio.Queue()

    async def begin(group: asyncio.TaskGroup) -> None:
        await places.acquire()
        async for request in requests:
            begun.put_nowait(group.create_task(answer(request)))
            await places.acquire()
        begun.put_nowait(None)

    async with task_group() as group:
        group.create_task(begin(group))
        while (task := await begun.get()) is not None:
            await send(await task)
            places.release()
