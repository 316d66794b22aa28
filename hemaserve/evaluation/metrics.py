"""Figures of merit of a classifier, from its confusion matrix. Pure."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
Interval = tuple[float, float]

CALIBRATION_BINS: Final = 15
"""As in Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 2 and its experiments."""

BOOTSTRAP_FOLDS: Final = 1000
BOOTSTRAP_SEED: Final = 20170814


def confusion_matrix(
    truths: Sequence[Hashable], answers: Sequence[Hashable], labels: Sequence[Hashable]
) -> Counts:
    """Counts int64 [K, K] over `labels`: rows are the truth, columns the answers."""
    index = {label: i for i, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), np.int64)
    for truth, answer in zip(truths, answers, strict=True):
        counts[index[truth], index[answer]] += 1
    return counts


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of one confusion matrix [K, K], or of a stack of them [..., K, K].

    Attributes:
        accuracy: [...]; the share of right answers.
        precision: [..., K]; TP / (TP + FP).
        recall: [..., K]; TP / (TP + FN), also called sensitivity.
        specificity: [..., K]; TN / (TN + FP).
        f1: [..., K]; 2 TP / (2 TP + FP + FN).
        macro_f1: [...]; the plain mean of f1 over the labels that have support.

    A share of nothing is NaN.
    """

    accuracy: Floats
    precision: Floats
    recall: Floats
    specificity: Floats
    f1: Floats
    macro_f1: Floats


def _share(part: Counts, whole: Counts) -> Floats:
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=np.asarray(whole > 0))


def scores(confusion: Counts) -> Scores:
    """Accuracy and the scores of each label, from counts [..., K, K] with truths as rows."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    support = confusion.sum(axis=-1)
    answered = confusion.sum(axis=-2)
    total = confusion.sum(axis=(-2, -1))
    wrongly_answered = answered - right
    others = total[..., None] - support
    f1 = _share(2 * right, support + answered)
    supported = support > 0
    f1_sum = np.where(supported, f1, 0.0).sum(axis=-1)
    label_count = supported.sum(axis=-1)
    return Scores(
        accuracy=_share(right.sum(axis=-1), total),
        precision=_share(right, answered),
        recall=_share(right, support),
        specificity=_share(others - wrongly_answered, others),
        f1=f1,
        macro_f1=np.divide(
            f1_sum, label_count, out=np.full(np.shape(label_count), np.nan), where=label_count > 0
        ),
    )


@dataclass(frozen=True, slots=True)
class ScoreIntervals:
    """95% intervals, as (low, high): one for each label, and one each for the accuracy and the macro F1."""

    accuracy: Interval
    precision: list[Interval]
    recall: list[Interval]
    specificity: list[Interval]
    f1: list[Interval]
    macro_f1: Interval


def percentile_intervals(samples: Floats) -> list[Interval]:
    """The middle 95% of samples [folds, K]; folds where a share had nothing to divide by are left out."""
    intervals = []
    for column in samples.T:
        known = column[~np.isnan(column)]
        low, high = np.percentile(known, (2.5, 97.5)) if known.size else (0.0, 1.0)
        intervals.append((float(low), float(high)))
    return intervals


def bootstrap_intervals(
    confusion: Counts, *, folds: int = BOOTSTRAP_FOLDS, seed: int = BOOTSTRAP_SEED
) -> ScoreIntervals:
    """Percentile bootstrap 95% intervals of the scores of counts [K, K].

    Drawing n images with replacement is the same as one multinomial draw over the cells of the confusion matrix, so
    no image needs to be kept. The same seed gives the same intervals. Where nothing is known the interval is (0, 1).

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    total = int(confusion.sum())
    size = confusion.shape[0]
    shares = confusion.ravel() / max(total, 1)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(total, shares, size=folds) if total else np.zeros((folds, size * size))
    resampled = scores(drawn.astype(np.int64).reshape(folds, size, size))
    return ScoreIntervals(
        accuracy=percentile_intervals(resampled.accuracy[:, None])[0],
        precision=percentile_intervals(resampled.precision),
        recall=percentile_intervals(resampled.recall),
        specificity=percentile_intervals(resampled.specificity),
        f1=percentile_intervals(resampled.f1),
        macro_f1=percentile_intervals(resampled.macro_f1[:, None])[0],
    )


def mean_interval(values: Floats, *, folds: int = BOOTSTRAP_FOLDS, seed: int = BOOTSTRAP_SEED) -> Interval:
    """Percentile bootstrap 95% interval of the mean of values [N], drawn with replacement, always the same way.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    random = np.random.default_rng(seed)
    drawn = (random.integers(0, len(values), len(values)) for _ in range(folds))
    return percentile_intervals(np.array([[values[rows].mean()] for rows in drawn]))[0]


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The answers whose probability lies in one bin, above `low` and up to `high`; there is at least one.

    Attributes:
        n: how many they are.
        probability: the mean of their probabilities.
        accuracy: the share of them that is right.
    """

    low: float
    high: float
    n: int
    probability: float
    accuracy: float


def reliability_bins(
    probabilities: Sequence[float], right: Sequence[bool], *, bins: int = CALIBRATION_BINS
) -> list[ReliabilityBin]:
    """The points of a reliability diagram, with bins of equal width over (0, 1]; empty bins are left out.

    Args:
        probabilities: what each answer was said to be worth, 0 to 1.
        right: whether it was right.

    Source: Guo et al., ICML 2017, section 2.
    """
    claimed = np.asarray(probabilities, np.float64)
    actual = np.asarray(right, np.float64)
    # Bin m holds ((m-1)/M, m/M], as in the source.
    bin_of = np.clip(np.ceil(claimed * bins).astype(int) - 1, 0, bins - 1)
    return [
        ReliabilityBin(
            low=index / bins,
            high=(index + 1) / bins,
            n=int(np.count_nonzero(bin_of == index)),
            probability=float(claimed[bin_of == index].mean()),
            accuracy=float(actual[bin_of == index].mean()),
        )
        for index in np.unique(bin_of).tolist()
    ]


def expected_calibration_error(
    probabilities: Sequence[float], right: Sequence[bool], *, bins: int = CALIBRATION_BINS
) -> float:
    """Expected calibration error with bins of equal width over (0, 1]; 0 is perfect, 0 for no answers at all.

    The mean over the bins, weighted by how many answers fall into each, of |share that was right - mean probability|.

    Args:
        probabilities: what each answer was said to be worth, 0 to 1.
        right: whether it was right.

    Source: Naeini et al., AAAI 2015; Guo et al., ICML 2017, equation 3.
    """
    gaps = (
        each.n * abs(each.accuracy - each.probability)
        for each in reliability_bins(probabilities, right, bins=bins)
    )
    return sum(gaps) / max(len(probabilities), 1)


def auroc(scores: Sequence[float] | Floats, positive: Sequence[bool] | NDArray[np.bool_]) -> float:
    """Area under the receiver operating characteristic: the chance that a positive outranks a negative, 0 to 1.

    Equal scores count half. NaN without a positive or without a negative.

    Args:
        scores: [N], greater where a positive is likelier.
        positive: [N].

    Source: Hanley & McNeil, Radiology 143 (1982) 29-36, doi 10.1148/radiology.143.1.7063747: the Wilcoxon statistic,
    from the sum of the positives' mid-ranks.
    """
    _, place, ties = np.unique(np.asarray(scores, np.float64), return_inverse=True, return_counts=True)
    mid_rank = np.cumsum(ties) - (ties - 1) / 2
    is_positive = np.asarray(positive, bool)
    positives = int(is_positive.sum())
    negatives = len(is_positive) - positives
    if not positives or not negatives:
        return float("nan")
    rank_sum = float(mid_rank[place.ravel()][is_positive].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def auroc_interval(
    scores: Sequence[float],
    positive: Sequence[bool],
    *,
    folds: int = BOOTSTRAP_FOLDS,
    seed: int = BOOTSTRAP_SEED,
) -> Interval:
    """Percentile bootstrap 95% interval of `auroc`: images are drawn with replacement, always the same way.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    values, labels = np.asarray(scores, np.float64), np.asarray(positive, bool)
    random = np.random.default_rng(seed)
    drawn = (random.integers(0, len(values), len(values)) for _ in range(folds))
    samples = np.array([[auroc(values[rows], labels[rows])] for rows in drawn])
    return percentile_intervals(samples)[0]
