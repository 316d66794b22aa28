"""How well the leaves of the tree of types are told apart, where the labels say which leaf it is. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from hemaserve.cells import CellType, primary_of
from hemaserve.evaluation.extra import exact_interval
from hemaserve.evaluation.guessing import LeafGuess
from hemaserve.evaluation.metrics import Interval
from hemaserve.evaluation.type_scores import Confusion, TypeScores, scores_by_type

_BAND_AND_SEGMENTED = (CellType.NEUTROPHIL_BAND, CellType.NEUTROPHIL_SEGMENTED)


@dataclass(frozen=True, slots=True)
class LeafReport:
    """How well leaves are told apart, over the images whose finest label is a leaf that the network knows.

    The best guess is the likeliest leaf of the likeliest primary type, identified or not.

    Attributes:
        n: these images.
        accuracy: right best guesses / n.
        accuracy_ci95: exact (Clopper-Pearson) interval.
        macro_f1: plain mean of F1 over the leaves that have images.
        macro_f1_ci95: bootstrap interval.
        per_type: for each leaf that has images.
        confusion: counts by truth, then by answer.
        band_segmented: images of band and of segmented neutrophils.
        band_segmented_accuracy: share of these whose likeliest leaf below neutrophil is the right one, whichever
            primary type is the likeliest; None when there are none.
        band_segmented_accuracy_ci95: exact interval.
    """

    n: int
    accuracy: float
    accuracy_ci95: Interval
    macro_f1: float
    macro_f1_ci95: Interval
    per_type: dict[CellType, TypeScores]
    confusion: Confusion
    band_segmented: int
    band_segmented_accuracy: float | None
    band_segmented_accuracy_ci95: Interval


def leaf_report(guesses: Sequence[LeafGuess]) -> LeafReport | None:
    """The figures; None where no label is finer than a primary type, so that no leaves have to be told apart.

    Raises:
        FailedPrecondition: the extra `evaluate` is not installed.
    """
    if all(primary_of(guess.truth) is guess.truth for guess in guesses):
        return None
    scores = scores_by_type([guess.truth for guess in guesses], [guess.answer for guess in guesses])
    right = sum(guess.answer is guess.truth for guess in guesses)
    neutrophils = [guess for guess in guesses if guess.truth in _BAND_AND_SEGMENTED]
    right_in_branch = sum(guess.in_branch is guess.truth for guess in neutrophils)
    return LeafReport(
        n=len(guesses),
        accuracy=right / len(guesses),
        accuracy_ci95=exact_interval(right, len(guesses)),
        macro_f1=scores.macro_f1,
        macro_f1_ci95=scores.macro_f1_ci95,
        per_type=scores.per_type,
        confusion=scores.confusion,
        band_segmented=len(neutrophils),
        band_segmented_accuracy=right_in_branch / len(neutrophils) if neutrophils else None,
        band_segmented_accuracy_ci95=exact_interval(right_in_branch, len(neutrophils)),
    )
