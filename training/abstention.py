"""When a cell is left unidentified: the out-of-distribution score, and how the limits are chosen. Pure."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Bools = NDArray[np.bool_]

#: Share of the calibration crops, which the networks ought to know, that the limit on the score may trip.
OOD_SHARE: Final = 0.005

#: Share of the validation crops that the limit on the disagreement may trip.
DISAGREEMENT_SHARE: Final = 0.01

#: What the identified cells' accuracy should reach, and how many cells may be left unidentified for it.
TARGET_ACCURACY: Final = 0.995
MAX_UNIDENTIFIED: Final = 0.05

#: Below this probability another type may be as probable: nothing below is ever identified.
_LOWEST_THRESHOLD: Final = 0.5
_STEP: Final = 0.005

#: Decimals of limits: enough for either, few enough to read.
_DECIMALS: Final = 4


def energy(logits: Floats) -> NDArray[np.float64]:
    """The free energy [N] of logits [N, classes]: -ln(sum(exp(logits))); high where a network recognises nothing.

    Source: Liu et al., Energy-based Out-of-distribution Detection, NeurIPS 2020, equation 4 at temperature 1.
    """
    wide = logits.astype(np.float64)
    greatest = wide.max(axis=1)
    return np.asarray(-greatest - np.log(np.exp(wide - greatest[:, None]).sum(axis=1)))


def limit_tripped_by(values: Floats, share: float) -> float:
    """The least limit, of four decimals, that at most `share` of the values [N] are greater than.

    Raises:
        ValueError: there are no values.
    """
    if not len(values):
        raise ValueError("no limit can be chosen from no crops")
    allowed = math.floor(share * len(values))
    least = float(np.sort(values.astype(np.float64))[len(values) - 1 - min(allowed, len(values) - 1)])
    scale = 10**_DECIMALS
    return math.ceil(least * scale) / scale


def within(values: Floats | None, limit: float | None) -> Bools | np.bool_:
    """Which of the values [N] keep to the limit; all do where either is missing."""
    return np.True_ if values is None or limit is None else values <= limit


def choose_threshold(
    confidence: Floats,
    correct: Bools,
    within_limits: Bools | np.bool_ = np.True_,
    target: float = TARGET_ACCURACY,
    max_unidentified: float = MAX_UNIDENTIFIED,
) -> float:
    """The smallest threshold whose identified crops are right often enough.

    Args:
        confidence: [N] probability of the winning primary type.
        correct: [N] whether it is the right one.
        within_limits: [N] whether the crop keeps to the limits; one that does not is unidentified at any threshold.
        target: the accuracy wanted among the identified crops.
        max_unidentified: share of the crops that may be unidentified; this limit wins over the target.

    Returns:
        A threshold of three decimals, 0.5 or more.
    """
    for threshold in np.arange(_LOWEST_THRESHOLD, 1.0, _STEP):
        identified = (confidence >= threshold) & within_limits
        if 1 - identified.mean() > max_unidentified:
            return round(float(max(threshold - _STEP, _LOWEST_THRESHOLD)), 3)
        if correct[identified].mean() >= target:
            return round(float(threshold), 3)
    return round(1 - _STEP, 3)
