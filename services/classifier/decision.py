"""From leaf probabilities to what is said about a cell: type, primary type, identified or not. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemaserve.cells import CellType, UnidentifiedReason, primary_of, roll_up_matrix
from hemaserve.errors import Internal
from hemaserve.geometry import FloatArray

SUM_TOLERANCE: Final = 0.01
"""How far a row may be from summing to 1: bfloat16 numbers, each rounded by up to 2**-9 of itself, stay well below."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When a classifier commits itself.

    Attributes:
        identify: least probability of the primary type for a cell to be identified, 0 to 1.
        leaf: least share of its parent's probability that the winning leaf needs to be reported, 0 to 1.
        ood_limit: greatest out-of-distribution score of an identified cell; None for no limit.
        disagreement_limit: greatest disagreement of the members about an identified cell, 0 to 1; None for no limit.
    """

    identify: float
    leaf: float
    ood_limit: float | None = None
    disagreement_limit: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What is said about one cell.

    Attributes:
        cell_type: the winning leaf, or its primary type when the leaf is doubtful.
        primary_type: the most probable primary type.
        probability: of the primary type, 0 to 1.
        reasons: why the classifier does not commit itself; then the types are its best guess.
    """

    cell_type: CellType
    primary_type: CellType
    probability: float
    reasons: tuple[UnidentifiedReason, ...]

    @property
    def identified(self) -> bool:
        """Whether the classifier commits itself."""
        return not self.reasons


def checked_probabilities(outputs: FloatArray, *, rows: int, leaves: int, source: str) -> FloatArray:
    """A network's outputs float32 [rows, leaves], each row scaled to sum to exactly 1.

    Args:
        source: the network's name, for the error.

    Raises:
        Internal: another shape, not finite, not between 0 and 1, or a row that is not a distribution.
    """
    if outputs.shape != (rows, leaves):
        raise Internal(f"model {source} answered with an unexpected shape")
    wide = outputs.astype(np.float64)
    sums = wide.sum(axis=1, keepdims=True)
    # NaN fails every comparison, so what is asked is whether all is well.
    sound = np.all((wide >= 0) & (wide <= 1 + SUM_TOLERANCE)) and np.all(np.abs(sums - 1) <= SUM_TOLERANCE)
    if not sound:
        raise Internal(f"model {source} answered with something that is not a probability distribution")
    return np.asarray(wide / sums, np.float32)


def checked_scores(outputs: FloatArray, *, rows: int, source: str) -> FloatArray:
    """A network's out-of-distribution scores float32 [rows, 1], as float32 [rows].

    Args:
        source: the network's name, for the error.

    Raises:
        Internal: another shape, or not finite.
    """
    if outputs.shape != (rows, 1):
        raise Internal(f"model {source} answered with an unexpected shape")
    if not np.isfinite(outputs).all():
        raise Internal(f"model {source} answered with a score that is not a number")
    return outputs[:, 0]


def checked_evidence(outputs: FloatArray, *, rows: int, shape: tuple[int, ...], source: str) -> FloatArray:
    """A network's evidence float32 [rows, leaves, height, width], see `explanation`.

    Args:
        shape: leaves, height and width as the network's configuration says them.
        source: the network's name, for the error.

    Raises:
        Internal: another shape, or not finite.
    """
    if outputs.shape != (rows, *shape):
        raise Internal(f"model {source} answered with an unexpected shape")
    if not np.isfinite(outputs).all():
        raise Internal(f"model {source} answered with evidence that is not a number")
    return outputs


def primary_tree(leaf_types: Sequence[CellType]) -> tuple[tuple[CellType, ...], FloatArray]:
    """The primary types of some leaves, and the float32 [leaves, primary types] that sums leaves' probabilities up."""
    primaries = tuple(dict.fromkeys(primary_of(leaf) for leaf in leaf_types))
    return primaries, roll_up_matrix(leaf_types, primaries)


def decide(
    probabilities: FloatArray,
    leaf_types: Sequence[CellType],
    thresholds: Thresholds,
    *,
    ood_scores: FloatArray | None = None,
    disagreements: FloatArray | None = None,
) -> list[Decision]:
    """Decide for each row of leaf probabilities float32 [N, len(leaf_types)] that sum to 1.

    Thresholds and limits count as kept when exactly met, in float32, which is what callers are shown. Of equally
    probable types the first in the order of `leaf_types` wins.

    Args:
        ood_scores: out-of-distribution scores float32 [N]; None when the model gives none, which trips no limit.
        disagreements: of the members, float32 [N], likewise.
    """
    primaries, tree = primary_tree(leaf_types)
    sums = (probabilities.astype(np.float64) @ tree).astype(np.float32)
    best_primary = sums.argmax(axis=1)
    rows = np.arange(len(probabilities))
    best_sum = sums[rows, best_primary]
    # Leaves of other primaries must not win, not even when everything in this branch is 0.
    in_branch = np.where(tree.T[best_primary] > 0, probabilities, -1)
    best_leaf = in_branch.argmax(axis=1)
    leaf_is_sure = in_branch[rows, best_leaf] >= np.float32(thresholds.leaf) * best_sum
    tripped = {
        UnidentifiedReason.LOW_PROBABILITY: best_sum < np.float32(thresholds.identify),
        UnidentifiedReason.MEMBERS_DISAGREE: _above(disagreements, thresholds.disagreement_limit, rows),
        UnidentifiedReason.OUT_OF_DISTRIBUTION: _above(ood_scores, thresholds.ood_limit, rows),
    }
    return [
        Decision(
            cell_type=leaf_types[best_leaf[row]] if leaf_is_sure[row] else primaries[best_primary[row]],
            primary_type=primaries[best_primary[row]],
            probability=min(float(best_sum[row]), 1.0),
            reasons=tuple(reason for reason, crops in tripped.items() if crops[row]),
        )
        for row in rows
    ]


def _above(values: FloatArray | None, limit: float | None, rows: NDArray[np.int_]) -> NDArray[np.bool_]:
    if values is None or limit is None:
        return np.zeros(len(rows), bool)
    return values > np.float32(limit)
