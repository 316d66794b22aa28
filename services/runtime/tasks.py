"""Structured concurrency, with plain errors."""

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from hemaserve.errors import DomainError

_Answer = TypeVar("_Answer")


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


def foremost(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one of a group's failures, however deep, that stands for all: the first domain error, else the first."""
    leaves = _leaves(failures)
    return next((leaf for leaf in leaves if isinstance(leaf, DomainError)), leaves[0])


def _leaves(failure: BaseException) -> list[BaseException]:
    if isinstance(failure, BaseExceptionGroup):
        return [leaf for inner in failure.exceptions for leaf in _leaves(inner)]
    return [failure]
