"""Rounds of contenders in turn, so that other work on the machine disturbs all alike, and what came of them."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def interleaved(contenders: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """What each contender gave in each round; every other round goes through them backwards (A B, B A, A B ...)."""
    found: dict[str, list[T]] = {name: [] for name in contenders}
    for number in range(rounds):
        order = list(contenders)
        for name in reversed(order) if number % 2 else order:
            found[name].append(contenders[name]())
    return found


def spread(values: Sequence[float], digits: int = 4) -> dict[str, Any]:
    """Median, least and greatest of the rounds, and the rounds themselves, to so many significant digits.

    Raises:
        ValueError: there are none.
    """
    if not values:
        raise ValueError("a spread needs at least one round")
    rounded = [_rounded(value, digits) for value in values]
    return {
        "median": _rounded(statistics.median(values), digits),
        "min": min(rounded),
        "max": max(rounded),
        "rounds": rounded,
    }


def ratio(above: Sequence[float], below: Sequence[float]) -> dict[str, Any]:
    """The spread of the rounds' ratios, each round against its own neighbour."""
    return spread([a / b for a, b in zip(above, below, strict=True)])


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")
