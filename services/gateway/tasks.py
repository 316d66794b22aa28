"""Structured concurrency, with plain errors."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hemaserve.errors import DomainError


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """An `asyncio.TaskGroup` that raises the failure itself, not a group of it.

    When several tasks fail at once, the first error that a caller may be told wins.
    """
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as failures:
        raise _foremost(failures.exceptions) from None


def _foremost(failures: tuple[BaseException, ...]) -> BaseException:
    return next((failure for failure in failures if isinstance(failure, DomainError)), failures[0])
