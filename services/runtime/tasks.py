"""Structured concurrency, with plain errors."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Hashable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from hemaserve.errors import DomainError

_Answer = TypeVar("_Answer")
_Key = TypeVar("_Key", bound=Hashable)


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """An `asyncio.TaskGroup` that raises the failure itself, not a group of it.

    When several tasks fail at once, the first error that a caller may be told wins.
    """
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failures:
        raise foremost(failures) from None


async def first_of(questions: Iterable[Coroutine[Any, Any, _Answer]]) -> _Answer | None:
    """The first answer that is true, or None when there is none; does not wait for the others then."""
    asked = [asyncio.create_task(question) for question in questions]
    try:
        for answer in asyncio.as_completed(asked):
            if told := await answer:
                return told
        return None
    finally:
        for task in asked:
            task.cancel()


class Shared(Generic[_Key, _Answer]):
    """Runs at most one coroutine of a key at a time: who asks meanwhile gets its answer, or its error, too.

    It goes on when those who wait for it do not.
    """

    def __init__(self) -> None:
        self._running: dict[_Key, asyncio.Task[_Answer]] = {}

    async def run(self, key: _Key, start: Callable[[], Coroutine[Any, Any, _Answer]]) -> _Answer:
        """What the coroutine that is running gives, or else the one that `start` makes."""
        running = self._running.get(key)
        if running is None:

            def over(task: asyncio.Task[_Answer]) -> None:
                del self._running[key]
                if not task.cancelled():
                    task.exception()  # seen, also where nobody waits for it any more

            running = self._running[key] = asyncio.create_task(start())
            running.add_done_callback(over)
        return await asyncio.shield(running)


def foremost(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one of a group's failures, however deep, that stands for all: the first domain error, else the first."""
    leaves = _leaves(failures)
    return next((leaf for leaf in leaves if isinstance(leaf, DomainError)), leaves[0])


def _leaves(failure: BaseException) -> list[BaseException]:
    if isinstance(failure, BaseExceptionGroup):
        return [leaf for inner in failure.exceptions for leaf in _leaves(inner)]
    return [failure]
