"""Scores of a network's answers, with intervals, in the form in which figures are stored.

The formulas are those of `hemaserve.evaluation.metrics`, which also measures the running services.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from hemaserve.evaluation import metrics
from hemaserve.evaluation.metrics import Counts, Interval

#: Enough for any set here: a share of ten thousand crops is known to four decimals.
_DECIMALS = 5


class ScoreFigures(BaseModel):
    """Right and wrong answers over a set of labels. Intervals are 95%, by 1,000 bootstrap folds."""

    labels: tuple[str, ...]
    crops: int
    """Crops, or fields, that were answered."""

    accuracy: float
    accuracy_ci95: Interval
    macro_f1: float
    """Plain mean of F1 over the labels that have crops."""

    macro_f1_ci95: Interval
    confusion: dict[str, dict[str, int]]
    """Counts by truth, then by answer; zeros are left out."""

    def matrix(self) -> Counts:
        """Counts int64 [labels, labels]: rows are the truth, columns the answers."""
        rows = [[self.confusion.get(t, {}).get(a, 0) for a in self.labels] for t in self.labels]
        return np.array(rows, np.int64)


def score(truth: NDArray[np.int64], answer: NDArray[np.int64], labels: Sequence[str]) -> ScoreFigures:
    """The figures of [N] answers, N at least 1; both arrays are indices into `labels`.

    Raises:
        ValueError: there are no answers.
    """
    if not len(truth):
        raise ValueError("there is nothing to score: no crop has a label that can be compared")
    counts = metrics.confusion_matrix(truth.tolist(), answer.tolist(), range(len(labels)))
    scores, intervals = metrics.scores(counts), metrics.bootstrap_intervals(counts)
    return ScoreFigures(
        labels=tuple(labels),
        crops=len(truth),
        accuracy=round(float(scores.accuracy), _DECIMALS),
        accuracy_ci95=_rounded(intervals.accuracy),
        macro_f1=round(float(scores.macro_f1), _DECIMALS),
        macro_f1_ci95=_rounded(intervals.macro_f1),
        confusion={
            labels[t]: {labels[a]: int(counts[t, a]) for a in np.flatnonzero(counts[t])}
            for t in np.flatnonzero(counts.any(axis=1))
        },
    )


def _rounded(interval: Interval) -> Interval:
    return round(interval[0], _DECIMALS), round(interval[1], _DECIMALS)
