"""From what became of cells that were partly blotted out to the figures that are reported. Pure."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from hemaserve.cells import CellType, belongs_to
from hemaserve.evaluation.blotting import SHARE
from hemaserve.evaluation.extra import exact_interval
from hemaserve.evaluation.metrics import Interval, mean_interval

LEAST_PROBABILITY: Final = 1.2e-7
"""Probabilities count as at least this and at most 1 minus this: the resolution of the numbers that are sent."""


@dataclass(frozen=True, slots=True)
class BlottedCell:
    """The probability of the explained type in one cell's crop, 0 to 1.

    Attributes:
        whole: as it is.
        marked: with what the map marks most blotted out.
        least: with what it marks least blotted out.
        random: with the shape of `marked` blotted out at random places; at least one.
        middle: with the middle of the crop blotted out.
    """

    whole: float
    marked: float
    least: float
    random: tuple[float, ...]
    middle: float


@dataclass(frozen=True, slots=True)
class Fall:
    """How far the explained type falls when a part of the crop is blotted out; means over cells, bootstrap intervals.

    Attributes:
        probability: fall of its probability.
        log_odds: fall of its log-odds, in nats.
    """

    probability: float
    probability_ci95: Interval
    log_odds: float
    log_odds_ci95: Interval


@dataclass(frozen=True, slots=True)
class Comparison(Fall):
    """How much further it falls when what the map marks is blotted out than when something else is: paired by cell.

    Attributes:
        more: share of cells in which the log-odds fall further, with the exact interval.
    """

    more: float
    more_ci95: Interval


@dataclass(frozen=True, slots=True)
class ExplanationReport:
    """Whether heat maps mark what matters.

    Attributes:
        n: cells with a map that marks something.
        unmarked: cells in which nothing speaks for the type; they are in no figure below.
        share: of the crop's area that is blotted out.
        probability: mean probability of the explained type before.
        marked: when what the map marks most is blotted out.
        least: when what it marks least is.
        random: when the same shape is at random places; the mean of them.
        middle: when the middle of the crop is: a map that only knows where the cell is.
        marked_than_least: `marked` against `least`; the others likewise.
        fallbacks: images where no detection holds the centre, so that their middle was taken for the crop.
        degraded: cells that an ensemble answered without all of its members.
        seconds: wall time.
    """

    n: int
    unmarked: int
    share: float
    probability: float
    marked: Fall
    least: Fall
    random: Fall
    middle: Fall
    marked_than_least: Comparison
    marked_than_random: Comparison
    marked_than_middle: Comparison
    fallbacks: int
    degraded: int
    seconds: float


def explanation_report(
    cells: Sequence[BlottedCell], *, unmarked: int, fallbacks: int, degraded: int, seconds: float
) -> ExplanationReport:
    """The figures over at least one cell.

    Raises:
        FailedPrecondition: the extra `evaluate` is not installed.
    """
    marked = _Falls(cells, lambda cell: [cell.marked])
    least = _Falls(cells, lambda cell: [cell.least])
    random = _Falls(cells, lambda cell: cell.random)
    middle = _Falls(cells, lambda cell: [cell.middle])
    return ExplanationReport(
        n=len(cells),
        unmarked=unmarked,
        share=SHARE,
        probability=float(np.mean([cell.whole for cell in cells])),
        marked=marked.fall(),
        least=least.fall(),
        random=random.fall(),
        middle=middle.fall(),
        marked_than_least=marked.against(least),
        marked_than_random=marked.against(random),
        marked_than_middle=marked.against(middle),
        fallbacks=fallbacks,
        degraded=degraded,
        seconds=seconds,
    )


def type_probability(leaves: Mapping[CellType, float], cell_type: CellType) -> float:
    """The probability of a type: the sum over its leaves, 0 to 1."""
    return min(sum(p for leaf, p in leaves.items() if belongs_to(leaf, cell_type)), 1.0)


def log_odds(probability: float) -> float:
    """log(p / (1 - p)) in nats, of a probability that is kept away from 0 and 1 by `LEAST_PROBABILITY`."""
    kept = min(max(probability, LEAST_PROBABILITY), 1 - LEAST_PROBABILITY)
    return math.log(kept / (1 - kept))


class _Falls:
    """The falls of probability and log-odds, one of each a cell; of several blots, their mean."""

    def __init__(self, cells: Sequence[BlottedCell], left: Callable[[BlottedCell], Sequence[float]]) -> None:
        self.probability = np.array([cell.whole - np.mean(left(cell)) for cell in cells])
        self.log_odds = np.array(
            [log_odds(cell.whole) - np.mean([log_odds(each) for each in left(cell)]) for cell in cells]
        )

    def fall(self) -> Fall:
        return Fall(
            probability=float(self.probability.mean()),
            probability_ci95=mean_interval(self.probability),
            log_odds=float(self.log_odds.mean()),
            log_odds_ci95=mean_interval(self.log_odds),
        )

    def against(self, other: "_Falls") -> Comparison:
        probability, odds = self.probability - other.probability, self.log_odds - other.log_odds
        more, n = int(np.count_nonzero(odds > 0)), len(odds)
        return Comparison(
            probability=float(probability.mean()),
            probability_ci95=mean_interval(probability),
            log_odds=float(odds.mean()),
            log_odds_ci95=mean_interval(odds),
            more=more / n,
            more_ci95=exact_interval(more, n),
        )
