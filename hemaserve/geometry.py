"""Boxes, tiles and non-maximum suppression. Pure; coordinates are the field's pixels unless a name says otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]

_TINY: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Box:
    """An axis-aligned box, half open: x0 <= x < x1, y0 <= y < y1, in pixels from the field's top left corner."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def width(self) -> float:
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        return self.y1 - self.y0

    @property
    def center(self) -> tuple[float, float]:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    def contains(self, x: float, y: float) -> bool:
        return self.x0 <= x < self.x1 and self.y0 <= y < self.y1

    def iou(self, other: "Box") -> float:
        """Intersection over union, 0 to 1."""
        return float(iou_matrix(as_array([self]), as_array([other]))[0, 0])


def as_array(boxes: Sequence[Box]) -> FloatArray:
    """Boxes as float32 [N, 4] of x0, y0, x1, y1."""
    return np.array([(b.x0, b.y0, b.x1, b.y1) for b in boxes], np.float32).reshape(-1, 4)


def _areas(boxes: FloatArray) -> FloatArray:
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), np.float32)


def _intersections(a: FloatArray, b: FloatArray) -> FloatArray:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    sides = np.clip(high - low, 0, None)
    return np.asarray(sides[..., 0] * sides[..., 1], np.float32)


def iou_matrix(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection over union of every pair: float32 [N, 4] and [M, 4] give [N, M]."""
    inter = _intersections(a, b)
    union = _areas(a)[:, None] + _areas(b)[None, :] - inter
    return np.asarray(inter / np.maximum(union, _TINY), np.float32)


def nms(
    boxes: FloatArray,
    scores: FloatArray,
    *,
    iou_threshold: float,
    containment_threshold: float = 1.0,
) -> NDArray[np.intp]:
    """Greedy non-maximum suppression.

    A box is dropped when it overlaps a better one by more than `iou_threshold`, or when more than
    `containment_threshold` of the smaller of the two lies in the other (which removes the part of a cell that a
    tile's edge cut off). Equal scores are broken by position and size, so which boxes are kept does not depend on
    the order of the input.

    Args:
        boxes: float32 [N, 4].
        scores: float32 [N].

    Returns:
        Indices of the kept boxes, best first.
    """
    order = np.lexsort((*boxes.T, -scores))
    ranked = boxes[order]
    # Column by column: rows of four are what numpy is slowest at.
    x0, y0, x1, y1 = np.ascontiguousarray(ranked.T)
    areas = _areas(ranked)
    left, kept = np.arange(len(order)), []
    while left.size:
        best, rest = left[0], left[1:]
        kept.append(best)
        width = np.minimum(x1[rest], x1[best]) - np.maximum(x0[rest], x0[best])
        height = np.minimum(y1[rest], y1[best]) - np.maximum(y0[rest], y0[best])
        inter = np.maximum(width, 0) * np.maximum(height, 0)
        union = areas[rest] + areas[best] - inter
        suppressed = inter / np.maximum(union, _TINY) > iou_threshold
        if containment_threshold < 1.0:
            smaller = np.minimum(areas[rest], areas[best])
            suppressed |= inter / np.maximum(smaller, _TINY) > containment_threshold
        left = rest[~suppressed]
    return np.asarray(order[kept], np.intp) if kept else np.empty(0, np.intp)


@dataclass(frozen=True, slots=True)
class Tile:
    """A rectangle of whole pixels that the detector looks at in one piece."""

    x0: int
    y0: int
    width: int
    height: int


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    if length <= tile:
        return [0]
    count = -(-(length - overlap) // (tile - overlap))
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def tiles(width: int, height: int, *, tile: int, overlap: int) -> list[Tile]:
    """The fewest tiles of side `tile` that cover a field, neighbours sharing at least `overlap` pixels.

    Anything up to `overlap` pixels wide lies whole in some tile. A field that is no larger than a tile is one tile.

    Raises:
        ValueError: unless 0 <= overlap < tile and the field is not empty.
    """
    if not 0 <= overlap < tile:
        raise ValueError(f"overlap must be in [0, {tile}), is {overlap}")
    if width < 1 or height < 1:
        raise ValueError(f"an empty field of {width}x{height} px has no tiles")
    return [
        Tile(x, y, min(tile, width), min(tile, height))
        for y in _starts(height, tile, overlap)
        for x in _starts(width, tile, overlap)
    ]
