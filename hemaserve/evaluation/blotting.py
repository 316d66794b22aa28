"""Blotting out a part of a crop: what a heat map marks most, what it marks least, and others for comparison. Pure."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemaserve.geometry import FloatArray
from hemaserve.heat_map import scaled
from hemaserve.imaging import RgbImage

SHARE: Final = 0.2
"""Share of the crop's area that is blotted out."""

_BLOBS: Final = 4

Mask = NDArray[np.bool_]
"""What is blotted out: bool [size, size]."""


def most_marked(heat: FloatArray, size: int, random: np.random.Generator) -> Mask:
    """The `SHARE` of a crop of `size` px that a map float32 [h, w] marks most.

    Places that are marked alike, e.g. not at all, are taken in patches at random.
    """
    return _greatest(scaled(heat, size, size), random)


def least_marked(heat: FloatArray, size: int, random: np.random.Generator) -> Mask:
    """The `SHARE` of a crop of `size` px that a map marks least; as for `most_marked`."""
    return _greatest(-scaled(heat, size, size), random)


def _greatest(values: FloatArray, random: np.random.Generator) -> Mask:
    size = len(values)
    patches = scaled(random.random((_BLOBS, _BLOBS)), size, size)
    order = np.lexsort((patches.ravel(), values.ravel()))
    mask = np.zeros(size * size, bool)
    mask[order[len(order) - round(SHARE * len(order)) :]] = True
    return mask.reshape(size, size)


def elsewhere(mask: Mask, random: np.random.Generator) -> Mask:
    """The same shape at a random place: moved, what leaves on one side comes in on the other, and perhaps mirrored."""
    turned = np.rot90(mask, random.integers(4))
    mirrored = turned[:, ::-1] if random.random() < 0.5 else turned
    return np.roll(mirrored, random.integers(len(mask), size=2), axis=(0, 1))


def middle(size: int) -> Mask:
    """The disc of that share in the middle of the crop: what one would mark who knows only that the cell is there."""
    away = np.arange(size) - (size - 1) / 2
    distance = np.hypot(away[:, None], away[None, :]).ravel()
    mask = np.zeros(size * size, bool)
    mask[np.argsort(distance, kind="stable")[: round(SHARE * distance.size)]] = True
    return mask.reshape(size, size)


def blotted(crop: RgbImage, mask: Mask) -> RgbImage:
    """A copy of a crop uint8 [size, size, 3] whose masked places have the median colour of its outermost pixels."""
    edge = np.concatenate([crop[0], crop[-1], crop[:, 0], crop[:, -1]])
    copy = crop.copy()
    copy[mask] = np.median(edge, axis=0).round().astype(np.uint8)
    return copy
