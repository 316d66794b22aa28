"""From classifications of single-cell images to the figures that are reported. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hemaserve.cells import CellType
from hemaserve.evaluation import metrics
from hemaserve.evaluation.extra import exact_interval
from hemaserve.evaluation.guessing import Guess
from hemaserve.evaluation.metrics import Interval


@dataclass(frozen=True, slots=True)
class TypeScores:
    """Scores of one type, with bootstrap 95% intervals. A share of nothing is 0, as scikit-learn has it."""

    precision: float
    recall: float
    f1: float
    support: int
    specificity: float
    precision_ci95: Interval
    recall_ci95: Interval
    f1_ci95: Interval
    specificity_ci95: Interval


@dataclass(frozen=True, slots=True)
class CellReport:
    """How well single cells are named.

    Attributes:
        n: images that were answered.
        accuracy: right best guesses / n, identified or not.
        accuracy_ci95: exact (Clopper-Pearson) interval.
        macro_f1: plain mean of F1 over the types that have images.
        macro_f1_ci95: bootstrap interval.
        per_type: for each type that has images.
        confusion: counts by truth, then by answer.
        ece: expected calibration error of the primary type's probability.
        unidentified: images for which the classifier does not commit itself.
        accuracy_identified: right guesses among the others; None when there are none.
        fallbacks: images where no detection holds the centre, so that the middle of the image was classified.
        degraded: images that an ensemble answered without all of its members.
        seconds: wall time.
    """

    n: int
    accuracy: float
    accuracy_ci95: Interval
    macro_f1: float
    macro_f1_ci95: Interval
    per_type: dict[CellType, TypeScores]
    confusion: dict[CellType, dict[CellType, int]]
    ece: float
    unidentified: int
    accuracy_identified: float | None
    accuracy_identified_ci95: Interval
    fallbacks: int
    degraded: int
    seconds: float


def cell_report(guesses: Sequence[Guess], *, fallbacks: int, degraded: int, seconds: float) -> CellReport:
    """The figures for at least one guess.

    Raises:
        FailedPrecondition: the extra `evaluate` is not installed.
    """
    present = {guess.truth for guess in guesses} | {guess.answer for guess in guesses}
    types = [cell_type for cell_type in CellType if cell_type in present]
    truths, answers = [guess.truth for guess in guesses], [guess.answer for guess in guesses]
    confusion = metrics.confusion_matrix(truths, answers, types)
    right = sum(guess.right for guess in guesses)
    identified = [guess for guess in guesses if guess.identified]
    identified_right = sum(guess.right for guess in identified)
    intervals = metrics.bootstrap_intervals(confusion)
    return CellReport(
        n=len(guesses),
        accuracy=right / len(guesses),
        accuracy_ci95=exact_interval(right, len(guesses)),
        macro_f1=float(metrics.scores(confusion).macro_f1),
        macro_f1_ci95=intervals.macro_f1,
        per_type=_per_type(types, confusion, intervals),
        confusion=_nested(types, confusion),
        ece=metrics.expected_calibration_error(
            [guess.probability for guess in guesses], [guess.probability_right for guess in guesses]
        ),
        unidentified=len(guesses) - len(identified),
        accuracy_identified=identified_right / len(identified) if identified else None,
        accuracy_identified_ci95=exact_interval(identified_right, len(identified)),
        fallbacks=fallbacks,
        degraded=degraded,
        seconds=seconds,
    )


def _per_type(
    types: Sequence[CellType], confusion: metrics.Counts, intervals: metrics.ScoreIntervals
) -> dict[CellType, TypeScores]:
    scores = metrics.scores(confusion)
    support = confusion.sum(axis=1)

    def plain(values: metrics.Floats, index: int) -> float:
        return float(np.nan_to_num(values[index]))

    return {
        cell_type: TypeScores(
            precision=plain(scores.precision, i),
            recall=plain(scores.recall, i),
            f1=plain(scores.f1, i),
            support=int(support[i]),
            specificity=plain(scores.specificity, i),
            precision_ci95=intervals.precision[i],
            recall_ci95=intervals.recall[i],
            f1_ci95=intervals.f1[i],
            specificity_ci95=intervals.specificity[i],
        )
        for i, cell_type in enumerate(types)
        if support[i]
    }


def _nested(types: Sequence[CellType], confusion: metrics.Counts) -> dict[CellType, dict[CellType, int]]:
    return {
        truth: {answer: int(confusion[row, column]) for column, answer in enumerate(types)}
        for row, truth in enumerate(types)
        if confusion[row].any()
    }
