"""How long to wait before trying again."""

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter, see https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.

    Attributes:
        attempts: how often in a row to try again without any progress before giving up.
        initial_s: upper limit of the first wait, in seconds.
        max_s: upper limit of any wait, in seconds.
    """

    attempts: int = 8
    initial_s: float = 0.25
    max_s: float = 8.0

    def wait_s(self, attempt: int, *, uniform: Callable[[float, float], float] = random.uniform) -> float:
        """The wait before the `attempt`-th repetition in a row (from 1), in seconds."""
        return uniform(0.0, min(self.max_s, self.initial_s * 2.0 ** (attempt - 1)))
