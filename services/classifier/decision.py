"""From leaf probabilities to what is said about a cell: type, primary type, identified or not. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from hemaserve.cells import CellType, primary_of, roll_up_matrix
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
    """

    identify: float
    leaf: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What is said about one cell.

    Attributes:
        identified: whether the classifier commits itself; otherwise the types are its best guess.
        cell_type: the winning leaf, or its primary type when the leaf is doubtful.
        primary_type: the most probable primary type.
        probability: of the primary type, 0 to 1.
    """

    identified: bool
    cell_type: CellType
    primary_type: CellType
    probability: float


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


def decide(
    probabilities: FloatArray, leaf_types: Sequence[CellType], thresholds: Thresholds
) -> list[Decision]:
    """Decide for each row of leaf probabilities float32 [N, len(leaf_types)] that sum to 1.

    Both thresholds count as met when exactly met, in float32, which is what callers are shown. Of equally probable
    types the first in the order of `leaf_types` wins.
    """
    primaries = tuple(dict.fromkeys(primary_of(leaf) for leaf in leaf_types))
    membership = roll_up_matrix(leaf_types, primaries)
    sums = (probabilities.astype(np.float64) @ membership).astype(np.float32)
    best_primary = sums.argmax(axis=1)
    rows = np.arange(len(probabilities))
    best_sum = sums[rows, best_primary]
    # Leaves of other primaries must not win, not even when everything in this branch is 0.
    in_branch = np.where(membership.T[best_primary] > 0, probabilities, -1)
    best_leaf = in_branch.argmax(axis=1)
    identified = best_sum >= np.float32(thresholds.identify)
    leaf_is_sure = in_branch[rows, best_leaf] >= np.float32(thresholds.leaf) * best_sum
    return [
        Decision(
            identified=bool(identified[row]),
            cell_type=leaf_types[best_leaf[row]] if leaf_is_sure[row] else primaries[best_primary[row]],
            primary_type=primaries[best_primary[row]],
            probability=min(float(best_sum[row]), 1.0),
        )
        for row in rows
    ]
