"""What abstaining buys: accuracy on the cells that are left when the least certain ones are set aside. Pure."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from hemaserve.evaluation.extra import exact_interval
from hemaserve.evaluation.guessing import Belief
from hemaserve.evaluation.metrics import Interval
from hemaserve.results import Classification, UnidentifiedReason

SHARES: Final = (0.01, 0.02, 0.05, 0.10, 0.15, 0.20)
"""Shares of the cells that are set aside."""

_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class AbstentionPoint:
    """A point of the curve of accuracy against the share of cells set aside.

    Attributes:
        share: of the cells, 0 to 1; where that is no whole number of cells, the whole ones below are set aside.
        n: cells that are left.
        accuracy: share of right best guesses among these.
        accuracy_ci95: exact (Clopper-Pearson) interval.
    """

    share: float
    n: int
    accuracy: float
    accuracy_ci95: Interval


def counted_reasons(classifications: Iterable[Classification]) -> dict[UnidentifiedReason, int]:
    """How many cells are unidentified for which reason, of those reasons that occur; a cell may have several."""
    reasons = Counter(reason for said in classifications for reason in set(said.unidentified_reasons))
    return {reason: reasons[reason] for reason in UnidentifiedReason if reasons[reason]}


def abstention(
    beliefs: Sequence[Belief], *, shares: Sequence[float] = SHARES, by_probability: bool = False
) -> tuple[AbstentionPoint, ...]:
    """The curve for some cells; empty when there are none.

    Set aside first are the unidentified cells, least probable best guess first, and then the identified ones, likewise.

    Args:
        shares: which points of the curve, each at least 0 and below 1.
        by_probability: set aside by probability alone, whether identified or not.

    Raises:
        FailedPrecondition: the extra `evaluate` is not installed.
    """
    if not beliefs:
        return ()
    kept_longest: Callable[[Belief], Any] = _probability if by_probability else _identified_first
    order = sorted(beliefs, key=kept_longest, reverse=True)
    return tuple(_point(order, share) for share in shares)


def _probability(belief: Belief) -> float:
    return belief.probability


def _identified_first(belief: Belief) -> tuple[bool, float]:
    return belief.identified, belief.probability


def _point(order: Sequence[Belief], share: float) -> AbstentionPoint:
    n = len(order) - math.floor(share * len(order) + _ROUNDING)
    right = sum(belief.right for belief in order[:n])
    return AbstentionPoint(share, n, right / n, exact_interval(right, n))
