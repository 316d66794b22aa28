"""A second attempt beside one that takes too long: the first answer wins."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from hemaserve.errors import Unavailable

_T = TypeVar("_T")

QUANTILE: Final = 0.95
"""What takes longer than this share of the last ones is slow."""

REMEMBERED: Final = 100
"""How many of the last ones are looked at."""

LEAST_SEEN: Final = 20
"""From how many on it is known what is slow."""

LEAST_DELAY_S: Final = 0.1
"""However fast they are: a second attempt costs as much as the first."""

MOST_AT_ONCE: Final = 3
"""Attempts side by side. A second one may be sent to the replica that holds up the first."""

MOST_SAVED: Final = 10.0
"""Further attempts in a row, when there were none for long."""


class Hedging:
    """Makes further attempts beside slow ones, for a share of all at most.

    Repeating what takes longest cuts off the tail of the times at a small price (Dean and Barroso, The Tail at Scale,
    Communications of the ACM 56(2), 2013). gRPC's C core has no hedging of its own.

    Args:
        share: further attempts in the long run, as a share of those that succeed; 0 makes none.
        clock: monotonic time in seconds.
    """

    def __init__(self, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._share = share
        self._clock = clock
        self._times_s: deque[float] = deque(maxlen=REMEMBERED)
        self._saved = MOST_SAVED if share else 0.0

    @property
    def delay_s(self) -> float:
        """After how long an attempt is slow, in seconds; infinite while that is not known."""
        if len(self._times_s) < LEAST_SEEN:
            return math.inf
        ordered = sorted(self._times_s)
        return max(LEAST_DELAY_S, ordered[math.ceil(QUANTILE * len(ordered)) - 1])

    async def first(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        """What the first attempt to succeed gives; the others are cancelled.

        Args:
            attempt: may be made several times, side by side.

        Raises:
            Unavailable: all attempts broke.
            Exception: what any other failure of an attempt is; it would be the same for all.
        """
        attempts = {asyncio.create_task(self._timed(attempt))}
        made = 1
        try:
            while True:
                delay_s = self.delay_s
                waits = self._share and made < MOST_AT_ONCE and not math.isinf(delay_s)
                done, _ = await asyncio.wait(
                    attempts,
                    timeout=delay_s if waits else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    attempts.discard(task)
                    if attempts and isinstance(task.exception(), Unavailable):
                        continue
                    return task.result()
                if not done and self._saved >= 1:
                    self._saved -= 1
                    made += 1
                    attempts.add(asyncio.create_task(self._timed(attempt)))
                elif not done:
                    made = MOST_AT_ONCE
        finally:
            for task in attempts:
                task.cancel()
            await asyncio.gather(*attempts, return_exceptions=True)

    async def _timed(self, attempt: Callable[[], Awaitable[_T]]) -> _T:
        started = self._clock()
        result = await attempt()
        self._times_s.append(self._clock() - started)
        self._saved = min(MOST_SAVED, self._saved + self._share)
        return result
