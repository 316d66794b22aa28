"""From classifications of single-cell images to the figures that are reported. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hemaserve.cells import CellType
from hemaserve.evaluation.abstention import AbstentionPoint, abstention
from hemaserve.evaluation.calibration import Calibration, calibration
from hemaserve.evaluation.extra import exact_interval
from hemaserve.evaluation.guessing import Guess, LeafGuess
from hemaserve.evaluation.leaf_report import LeafReport, leaf_report
from hemaserve.evaluation.metrics import Interval, expected_calibration_error
from hemaserve.evaluation.type_scores import Confusion, TypeScores, scores_by_type
from hemaserve.results import UnidentifiedReason


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
        leaves: how well leaves are told apart; None where no label is finer than a primary type.
        ece: expected calibration error of the primary type's probability.
        calibration: more on how honest the probabilities are.
        unanswerable: images of types that the network cannot answer, by type; they are among the wrong ones.
        unidentified: images for which the classifier does not commit itself.
        unidentified_reasons: how many of them for which reason; one image may have several.
        accuracy_identified: right guesses among the others; None when there are none.
        abstention: accuracy when some cells are set aside, the unidentified ones first.
        abstention_by_probability: likewise, by probability alone.
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
    confusion: Confusion
    leaves: LeafReport | None
    ece: float
    calibration: Calibration
    unanswerable: dict[CellType, int]
    unidentified: int
    unidentified_reasons: dict[UnidentifiedReason, int]
    accuracy_identified: float | None
    accuracy_identified_ci95: Interval
    abstention: tuple[AbstentionPoint, ...]
    abstention_by_probability: tuple[AbstentionPoint, ...]
    fallbacks: int
    degraded: int
    seconds: float


def cell_report(
    guesses: Sequence[Guess],
    leaf_guesses: Sequence[LeafGuess] = (),
    *,
    unidentified_reasons: Mapping[UnidentifiedReason, int],
    unanswerable: Mapping[CellType, int],
    fallbacks: int,
    degraded: int,
    seconds: float,
) -> CellReport:
    """The figures for at least one guess.

    Args:
        leaf_guesses: of those images whose leaf type is known.

    Raises:
        FailedPrecondition: the extra `evaluate` is not installed.
    """
    scores = scores_by_type([guess.truth for guess in guesses], [guess.answer for guess in guesses])
    right = sum(guess.right for guess in guesses)
    identified = [guess for guess in guesses if guess.identified]
    identified_right = sum(guess.right for guess in identified)
    beliefs = [guess.belief for guess in guesses]
    return CellReport(
        n=len(guesses),
        accuracy=right / len(guesses),
        accuracy_ci95=exact_interval(right, len(guesses)),
        macro_f1=scores.macro_f1,
        macro_f1_ci95=scores.macro_f1_ci95,
        per_type=scores.per_type,
        confusion=scores.confusion,
        leaves=leaf_report(leaf_guesses),
        ece=expected_calibration_error(
            [belief.probability for belief in beliefs], [belief.right for belief in beliefs]
        ),
        calibration=calibration(beliefs),
        unanswerable=dict(unanswerable),
        unidentified=len(guesses) - len(identified),
        unidentified_reasons=dict(unidentified_reasons),
        accuracy_identified=identified_right / len(identified) if identified else None,
        accuracy_identified_ci95=exact_interval(identified_right, len(identified)),
        abstention=abstention(beliefs),
        abstention_by_probability=abstention(beliefs, by_probability=True),
        fallbacks=fallbacks,
        degraded=degraded,
        seconds=seconds,
    )
