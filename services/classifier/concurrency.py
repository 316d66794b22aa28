"""Doing several things at once without losing their order, their bound or their errors."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

from services.runtime.tasks import task_group

T = TypeVar("T")
R = TypeVar("R")


async def together(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all, in their order; the first failure cancels the others and is raised as it is."""
    async with task_group() as group:
        tasks = [group.create_task(coroutine) for coroutine in coroutines]
    return [task.result() for task in tasks]


async def in_order(
    requests: AsyncIterable[T], work: Callable[[T], Coroutine[Any, Any, R]], *, at_once: int
) -> AsyncGenerator[R, None]:
    """The results of `work` for each request, in the order of the requests, up to `at_once` of them under way.

    A result that its reader has not taken still counts, so a slow reader stops the reading of requests. The first
    failure is raised after the results before it; then, as when the iteration is closed or cancelled, what is under
    way is cancelled.
    """
    slots = asyncio.Semaphore(at_once)
    started: asyncio.Queue[asyncio.Task[R] | None] = asyncio.Queue()
    under_way: set[asyncio.Task[R]] = set()

    async def start_each() -> None:
        try:
            await slots.acquire()
            async for request in requests:
                task = asyncio.create_task(work(request))
                under_way.add(task)
                started.put_nowait(task)
                await slots.acquire()
        finally:
            started.put_nowait(None)

    reader = asyncio.create_task(start_each())
    try:
        while (task := await started.get()) is not None:
            yield await task
            under_way.discard(task)
            slots.release()
        await reader
    finally:
        await _cancel(reader, *under_way)


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
