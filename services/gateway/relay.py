"""From tasks that produce to a stream that yields."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import grpc.aio

_Item = TypeVar("_Item")
Send = Callable[[_Item], Awaitable[None]]


async def relay(
    produce: Callable[[Send[_Item]], Awaitable[None]], context: grpc.aio.ServicerContext[Any, Any]
) -> AsyncIterator[_Item]:
    """Yield what `produce` sends, in order. `send` returns when its item has been taken: production never runs ahead.

    A servicer's generator may be left standing at a yield when its caller goes away, and tasks begun in it would live
    on. These end with the RPC.
    """
    items: asyncio.Queue[_Item | None] = asyncio.Queue()

    async def send(item: _Item) -> None:
        items.put_nowait(item)
        await items.join()

    async def work() -> None:
        await produce(send)

    producing = asyncio.create_task(work())
    producing.add_done_callback(lambda _: items.put_nowait(None))
    # The stubs ask for a class of theirs where gRPC takes any callable.
    context.add_done_callback(lambda _: producing.cancel())  # type: ignore[arg-type]
    try:
        while (item := await items.get()) is not None:
            yield item
            items.task_done()
        await producing
    finally:
        producing.cancel()
