"""Scores of each type, from what was taken for what. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from hemaserve.cells import CellType
from hemaserve.evaluation import metrics
from hemaserve.evaluation.metrics import Interval

Label = TypeVar("Label")

Confusion = dict[CellType, dict[CellType, int]]
"""Counts by truth, then by answer; only truths that have images."""


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
class ScoresByType:
    """Scores of each type and over all of them.

    Attributes:
        macro_f1: plain mean of F1 over the types that have images.
        macro_f1_ci95: bootstrap interval.
        per_type: for each type that has images.
        confusion: counts by truth, then by answer.
    """

    macro_f1: float
    macro_f1_ci95: Interval
    per_type: dict[CellType, TypeScores]
    confusion: Confusion


def scores_by_type(truths: Sequence[CellType], answers: Sequence[CellType]) -> ScoresByType:
    """The scores of at least one answer; the two sequences are parallel."""
    present = {*truths, *answers}
    types = [cell_type for cell_type in CellType if cell_type in present]
    confusion = metrics.confusion_matrix(truths, answers, types)
    intervals = metrics.bootstrap_intervals(confusion)
    return ScoresByType(
        macro_f1=float(metrics.scores(confusion).macro_f1),
        macro_f1_ci95=intervals.macro_f1,
        per_type=scores_by_label(types, confusion, intervals),
        confusion=nested(types, confusion),
    )


def scores_by_label(
    labels: Sequence[Label], confusion: metrics.Counts, intervals: metrics.ScoreIntervals
) -> dict[Label, TypeScores]:
    """The scores of each label that has images, from counts [K, K] with truths as rows."""
    scores = metrics.scores(confusion)
    support = confusion.sum(axis=1)

    def plain(values: metrics.Floats, index: int) -> float:
        return float(np.nan_to_num(values[index]))

    return {
        label: TypeScores(
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
        for i, label in enumerate(labels)
        if support[i]
    }


def nested(labels: Sequence[Label], confusion: metrics.Counts) -> dict[Label, dict[Label, int]]:
    """Counts [K, K] by truth, then by answer; only truths that have images."""
    return {
        truth: {answer: int(confusion[row, column]) for column, answer in enumerate(labels)}
        for row, truth in enumerate(labels)
        if confusion[row].any()
    }
