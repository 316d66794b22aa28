"""Work on pixels happens in threads, a few at a time, so that the event loop stays free for calls."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

SMALL_BYTES: Final = 2**18
"""Work on so few bytes is done before a thread would be awake for it, which takes 0.05 to 0.1 ms of processor time."""

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """A bounded pool of threads for scaling, cutting and digests; Pillow and numpy release the interpreter's lock.

    Args:
        count: how many pieces of work run at once; the others wait in order.
    """

    def __init__(self, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="pixels")

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `work` returns or raises. Work that has not begun when the caller is cancelled never begins."""
        return await asyncio.wrap_future(self._pool.submit(work, *args, **kwargs))

    def close(self) -> None:
        """Drops what has not begun and waits for what has."""
        self._pool.shutdown(cancel_futures=True)
