"""Repeating what broke, within a budget, where gRPC cannot: when an answer has begun, or a code says too little."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeVar

from hemaserve.errors import DomainError, Unavailable
from services.runtime.remote import Deadline

_T = TypeVar("_T")

ATTEMPTS: Final = 4
"""How often something is tried in all; with two replicas the first repetition nearly always finds the other one."""

FIRST_WAIT_S: Final = 0.05
"""Upper limit of the wait before the first repetition; doubled before each further one."""


class RetryBudget:
    """How much may be repeated towards one service: gRPC's own retry throttling, for what we repeat ourselves.

    A failure takes a token, a success gives a share of one back; below half of them nothing is repeated. When most
    calls fail, repetitions would only add to the trouble. Source: https://github.com/grpc/proposal/blob/master/A6-client-retries.md

    Args:
        tokens: most of them.
        gain: what a success gives back. More than a half, so that one sick replica of two does not use up the budget.
    """

    def __init__(self, tokens: float = 20.0, gain: float = 0.6) -> None:
        self._most = tokens
        self._tokens = tokens
        self._gain = gain

    def succeeded(self) -> None:
        """A call did what it should."""
        self._tokens = min(self._most, self._tokens + self._gain)

    def failed(self) -> None:
        """A call broke."""
        self._tokens = max(0.0, self._tokens - 1.0)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Notes how the call in the block ended. What is wrong with a request itself is no failure here."""
        try:
            yield
        except Unavailable:
            self.failed()
            raise
        self.succeeded()

    @property
    def allows(self) -> bool:
        """Whether something may be repeated now."""
        return self._tokens > self._most / 2


async def repeated(
    attempt: Callable[[], Awaitable[_T]],
    *,
    budgets: Sequence[RetryBudget],
    deadline: Deadline,
    when: tuple[type[DomainError], ...] = (Unavailable,),
    uniform: Callable[[float, float], float] = random.uniform,
) -> _T:
    """What `attempt` gives; it is made again when it breaks, for what it needs may have replicas.

    Args:
        attempt: may be made several times, one after the other; it tells the budgets of its calls.
        budgets: of the services that it calls: all must allow a repetition.
        deadline: no repetition begins after it.
        when: the errors after which trying again may help.

    Raises:
        DomainError: that of the last attempt.
    """
    wait_s = FIRST_WAIT_S
    for _ in range(ATTEMPTS - 1):
        try:
            return await attempt()
        except when:
            pause_s = uniform(0.0, wait_s)
            if pause_s >= deadline.left_s() or not all(budget.allows for budget in budgets):
                raise
        await asyncio.sleep(pause_s)
        wait_s *= 2
    return await attempt()
