"""Which places of a crop speak for a type. Pure.

A network that can be explained gives its *evidence*: for each leaf l and each place x of a grid over the crop a number
e_l(x), so that the leaf's logit is the mean of e_l over the places, plus a constant. That is the class activation map
of Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016; for networks that end in an average
over places and a linear layer, Grad-CAM (Selvaraju et al., ICCV 2017) is the same up to scale, and a transformer's
tokens have shares of a logit likewise.

What is shown is how much each place adds to the log-odds of a type, to first order. With P the summed probability of
the type's leaves, d log(P / (1 - P)) / d logit_l is p_l / P for a leaf of the type, and -p_l / (1 - P) for any other.
So places that speak for the type's rivals count against it, most of all for those rivals that come close.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemaserve.cells import CellType, belongs_to, primary_of
from hemaserve.errors import InvalidArgument
from hemaserve.geometry import FloatArray
from hemaserve.heat_map import scaled

_Floats = NDArray[np.float64]

_ROUNDING: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Explanation:
    """What speaks for a type.

    Attributes:
        cell_type: the type.
        values: uint8 [h, w] over the crop: 255 where most speaks for it, 0 where nothing does or something against it.
    """

    cell_type: CellType
    values: NDArray[np.uint8]


def check_type(cell_type: CellType, leaf_types: Sequence[CellType]) -> None:
    """Return when some of the leaves belong to the type.

    Raises:
        InvalidArgument: none do, so that nothing can speak for it.
    """
    if not any(belongs_to(leaf, cell_type) for leaf in leaf_types):
        answers = dict.fromkeys([*leaf_types, *map(primary_of, leaf_types)])
        raise InvalidArgument("type", cell_type, ", ".join(answers), reason="TYPE_NOT_ANSWERED")


def explanation(
    evidence: Mapping[str, FloatArray],
    probabilities: Mapping[str, FloatArray],
    leaf_types: Sequence[CellType],
    cell_type: CellType,
) -> Explanation:
    """What speaks for a type in one crop, by one network or by the members of an ensemble.

    Members count alike: each one's map, made with its own probabilities, is scaled to its greatest absolute value and
    to the finest grid among them, and the mean of these is what is shown.

    Args:
        evidence: by network, float32 [leaves, h, w]; at least one.
        probabilities: calibrated, by network, float32 [leaves].
        cell_type: one that `check_type` accepts.
    """
    maps = [
        contributions(places, type_weights(probabilities[name], leaf_types, cell_type))
        for name, places in evidence.items()
    ]
    return Explanation(cell_type, as_bytes(mean_map(maps)))


def type_weights(probabilities: FloatArray, leaf_types: Sequence[CellType], cell_type: CellType) -> _Floats:
    """How the log-odds of a type change with each leaf's logit, float64 [leaves]: the type's leaves' weights sum to 1,
    the others' to -1.

    A side to which the network gives no probability at all is taken to share it evenly.

    Args:
        probabilities: float32 [leaves].
    """
    belongs = np.array([belongs_to(leaf, cell_type) for leaf in leaf_types])
    return _shares(probabilities, belongs) - _shares(probabilities, ~belongs)


def _shares(probabilities: FloatArray, chosen: NDArray[np.bool_]) -> _Floats:
    # The sum of the others is 1 - P without its rounding error, which matters where P is almost 1.
    part = np.where(chosen, probabilities.astype(np.float64), 0)
    if (total := part.sum()) > 0:
        return np.asarray(part / total)
    return np.asarray(chosen / max(np.count_nonzero(chosen), 1), np.float64)


def contributions(evidence: FloatArray, weights: _Floats) -> _Floats:
    """What each place adds to the log-odds of a type, float64 [h, w], in units of one place's share of the mean.

    Args:
        evidence: float32 [leaves, h, w].
        weights: float64 [leaves], see `type_weights`.
    """
    wide = evidence.astype(np.float64)
    sums = np.tensordot(weights, wide, axes=1)
    # What cancels out but for float32's rounding is nothing, and must not be blown up to a map.
    size = np.tensordot(np.abs(weights), np.abs(wide), axes=1)
    return np.where(np.abs(sums) > _ROUNDING * size, sums, 0.0)


def mean_map(maps: Sequence[_Floats]) -> _Floats:
    """The mean of maps float64 [h, w] of any sizes, each scaled to -1 to 1 and to the finest grid among them."""
    height = max(each.shape[0] for each in maps)
    width = max(each.shape[1] for each in maps)
    return np.asarray(np.mean([_fitted(each, width, height) for each in maps], axis=0))


def _fitted(values: _Floats, width: int, height: int) -> _Floats:
    greatest = np.abs(values).max()
    unit = values / greatest if greatest > 0 else values
    return unit if values.shape == (height, width) else scaled(unit, width, height).astype(np.float64)


def as_bytes(values: _Floats) -> NDArray[np.uint8]:
    """The positive part of a map, scaled so that its greatest value is 255; all 0 where nothing is positive."""
    positive = np.maximum(values, 0)
    greatest = positive.max()
    return np.asarray((255 * (positive / greatest)).round() if greatest > 0 else positive, np.uint8)
