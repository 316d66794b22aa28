"""Are the probabilities honest? Scores of them against a classifier that is always equally sure. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from hemaserve.evaluation import metrics
from hemaserve.evaluation.guessing import Belief
from hemaserve.evaluation.metrics import Floats, Interval, ReliabilityBin

LEAST_PROBABILITY: Final = float(np.finfo(np.float32).eps)
"""What a probability of 0 counts as in a logarithm: the resolution of the float32 in which probabilities are sent, as
in scikit-learn's `log_loss`."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """How honest the probabilities of the types to choose from are.

    With p[k] the probability of type k, and t the right type, of each cell:

    - negative log-likelihood: the mean of -ln p[t];
    - Brier score: the mean of the sum over k of (p[k] - [k is t])^2, 0 to 2 (Brier, Monthly Weather Review 1950).

    The baseline gives the same best guesses, each with the confidence a, the share of right guesses, and spreads 1 - a
    evenly over the K - 1 other types. Of all predictors with one confidence for every guess it has the least negative
    log-likelihood, so a ratio below 1 says that the probabilities tell easy cells from hard ones.

    Attributes:
        n: cells.
        ece: expected calibration error of the best guess's probability, 15 bins of equal width.
        nll, brier: of the classifier, in nats and without a unit.
        nll_baseline, brier_baseline: of the baseline.
        nll_ratio, brier_ratio: classifier / baseline; None when every guess is right, or every one is wrong in a
            choice between two: then the baseline is perfect.
        nll_ratio_ci95, brier_ratio_ci95: bootstrap intervals (cells drawn with replacement, the baseline's confidence
            computed anew for each draw); None with the ratio.
        reliability: the points of the reliability diagram, by rising probability.
    """

    n: int
    ece: float
    nll: float
    nll_baseline: float
    nll_ratio: float | None
    nll_ratio_ci95: Interval | None
    brier: float
    brier_baseline: float
    brier_ratio: float | None
    brier_ratio_ci95: Interval | None
    reliability: tuple[ReliabilityBin, ...]


def calibration(beliefs: Sequence[Belief]) -> Calibration:
    """The figures over at least one cell."""
    right = [belief.right for belief in beliefs]
    claimed = [belief.probability for belief in beliefs]
    losses = np.array([_losses(belief) for belief in beliefs], np.float64)
    types = {name for belief in beliefs for name in (*belief.probabilities, belief.truth)}
    actual = np.array(right, np.float64)
    mean = losses.mean(axis=0)
    baseline = baseline_losses(actual.mean(), len(types))
    nll_ratio, brier_ratio = _ratios(mean, baseline)
    intervals = _ratio_intervals(losses, actual, len(types))
    return Calibration(
        n=len(beliefs),
        ece=metrics.expected_calibration_error(claimed, right),
        nll=float(mean[0]),
        nll_baseline=float(baseline[0]),
        nll_ratio=_known(nll_ratio),
        nll_ratio_ci95=None if np.isnan(nll_ratio) else intervals[0],
        brier=float(mean[1]),
        brier_baseline=float(baseline[1]),
        brier_ratio=_known(brier_ratio),
        brier_ratio_ci95=None if np.isnan(brier_ratio) else intervals[1],
        reliability=tuple(metrics.reliability_bins(claimed, right)),
    )


def _losses(belief: Belief) -> tuple[float, float]:
    """Negative log-likelihood and Brier score of one cell; a type that the network does not know has probability 0."""
    of_truth = belief.probabilities.get(belief.truth, 0.0)
    squares = sum(p * p for p in belief.probabilities.values())
    # Written out, the sum over the types is that of all p[k]^2, with (p[t] - 1)^2 for p[t]^2.
    return -float(np.log(max(of_truth, LEAST_PROBABILITY))), squares - 2.0 * of_truth + 1.0


def baseline_losses(accuracy: Floats, types: int) -> Floats:
    """Negative log-likelihood and Brier score, float64 [..., 2], of guesses that all have the confidence `accuracy`.

    Args:
        accuracy: the share of the guesses that is right, 0 to 1, [...].
        types: how many types there are to choose from; with one, every guess is right.
    """
    wrong = 1.0 - accuracy
    each = wrong / max(types - 1, 1)
    nll = -_times_log(accuracy, accuracy) - _times_log(wrong, each)
    of_right = wrong**2 + wrong * each
    of_wrong = accuracy**2 + (1.0 - each) ** 2 + (types - 2) * each**2
    return np.stack([nll, accuracy * of_right + wrong * of_wrong], axis=-1)


def _times_log(share: Floats, probability: Floats) -> Floats:
    """share * ln(probability), and 0 for a share of nothing."""
    product: Floats = share * np.log(np.where(share > 0, probability, 1.0))
    return product


def _ratios(losses: Floats, baseline: Floats) -> Floats:
    """float64 [..., 2]; NaN where the baseline is perfect."""
    return np.divide(losses, baseline, out=np.full(losses.shape, np.nan), where=baseline > 0)


def _known(ratio: float) -> float | None:
    return None if np.isnan(ratio) else float(ratio)


def _ratio_intervals(losses: Floats, right: Floats, types: int) -> list[Interval]:
    """Bootstrap intervals of the two ratios, from losses [N, 2] and what was right [N]."""
    random = np.random.default_rng(metrics.BOOTSTRAP_SEED)
    table = np.column_stack([losses, right])
    drawn = (random.integers(0, len(table), len(table)) for _ in range(metrics.BOOTSTRAP_FOLDS))
    means = np.array([table[indices].mean(axis=0) for indices in drawn])
    return metrics.percentile_intervals(_ratios(means[:, :2], baseline_losses(means[:, 2], types)))
