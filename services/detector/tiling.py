"""How a field is looked at in pieces, and how what was seen in the pieces becomes one answer. Pure.

A field that is much larger than a network's input is looked at in layers of overlapping tiles. The first layer shows
cells at the size that the network was trained on; each further layer has tiles of twice the side, up to the whole
field in one piece. Whatever is too large for one layer's overlap, and so perhaps whole in none of its tiles, is
whole in a later one; a later layer is asked for nothing else, since small things seen from too far are misjudged.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from hemaserve.geometry import FloatArray, Tile, tiles
from services.detector.predictions import Candidates, join, nms_by_kind

RED_CELL_UM: Final = 7.5
"""Diameter of a red blood cell in a stained smear, micrometres (7.2 to 7.9; Bain, Blood Cells, 5th ed., ch. 1)."""

ONE_PIECE: Final = 1.25
"""A field up to this many tile sides long is looked at in one piece, for 20% less detail and a quarter of the work."""

CUT_MARGIN: Final = 0.005
"""A box that ends within this share of the piece's side from an inner edge was cut off by it (2 px of 416)."""

NEAR_MARGIN: Final = 0.04
"""A box that ends within this share of an inner edge may have been cut short: one seen elsewhere is believed first."""

PART_OF: Final = 0.8
"""A box with more than this share of its area in a better one of its kind is a part of that cell."""

SURELY_WHOLE: Final = 0.8
"""A box up to this share of the overlap is whole in some tile of the layer, with room for the network's error."""


@dataclass(frozen=True, slots=True)
class TilingPolicy:
    """How large the tiles are.

    Attributes:
        side_px: side of the first layer's tiles, in the field's pixels, where nothing tells the field's scale.
        overlap: what neighbouring tiles share, as a share of their side.
        red_cell_share: longer side of a red cell's box as a share of the network's input, in training.
        most_tiles: tiles are made larger rather than many more than this in the first layer.
    """

    side_px: int
    overlap: float
    red_cell_share: float
    most_tiles: int

    def side_at_scale(self, um_per_px: float) -> int:
        """The tile side in pixels at which red cells have the size that they had in training."""
        return max(1, round(RED_CELL_UM / um_per_px / self.red_cell_share))


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the field that the network looks at.

    Attributes:
        tile: where it is.
        least_px: boxes whose longer side is shorter are left to smaller pieces.
    """

    tile: Tile
    least_px: float = 0.0


def fits_one_piece(width: int, height: int, side: int) -> bool:
    """Whether a field of `width` x `height` px is about as small as a tile of this side, or smaller."""
    return max(width, height) <= ONE_PIECE * side


def plan(width: int, height: int, side: int, policy: TilingPolicy) -> list[Piece]:
    """The pieces in which a field of `width` x `height` px is looked at, layer after layer; the last is the field.

    A field whose longer side is at most `ONE_PIECE` tile sides is its only piece.

    Args:
        side: side of the first layer's tiles in pixels; enlarged where it would make too many.
    """
    side = max(side, math.ceil(math.sqrt(width * height / policy.most_tiles) / (1 - policy.overlap)))
    pieces, least_px = [], 0.0
    while not fits_one_piece(width, height, side):
        overlap = int(side * policy.overlap)
        pieces += [Piece(tile, least_px) for tile in tiles(width, height, tile=side, overlap=overlap)]
        least_px = SURELY_WHOLE * overlap
        side *= 2
    return [*pieces, Piece(Tile(0, 0, width, height), least_px)]


def merge(
    pieces: Sequence[Piece], found: Sequence[Candidates], width: int, height: int, *, nms_iou: float
) -> Candidates:
    """One set of candidates from those of all pieces: each cell once, whole, within the field, best score first.

    Args:
        pieces: where the network looked.
        found: what it saw in each piece, in the field's pixels.
        width, height: the field's size in pixels.
        nms_iou: boxes of one kind that overlap by more than this are one object.
    """
    if len(pieces) == 1:
        return _best_first(_clipped(found[0], pieces[0].tile))
    whole, near = [], []
    for piece, seen in zip(pieces, found, strict=True):
        clipped = _clipped(seen, piece.tile)
        gap = inner_gap(clipped.boxes, piece.tile, width, height)
        keep = (gap > CUT_MARGIN) & (longer_sides(clipped.boxes) >= piece.least_px)
        whole.append(clipped.take(keep))
        near.append(gap[keep] <= NEAR_MARGIN)
    together = join(whole)
    # Scores lie in 0..1: less one puts every doubtful box behind every certain one.
    rank = np.asarray(together.scores - np.concatenate(near), np.float32)
    kept = nms_by_kind(together, rank, iou_threshold=nms_iou, containment_threshold=PART_OF)
    return _best_first(together.take(kept))


def longer_sides(boxes: FloatArray) -> FloatArray:
    """The longer side of each box: float32 [N, 4] gives [N]."""
    return np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])


def _clipped(seen: Candidates, piece: Tile) -> Candidates:
    """Candidates cut down to the piece; those of which less than a pixel is left lay in the letterbox's border."""
    low = np.array([piece.x0, piece.y0] * 2, np.float32)
    high = low + np.array([piece.width, piece.height] * 2, np.float32)
    boxes = np.clip(seen.boxes, low, high)
    visible = (boxes[:, 2] - boxes[:, 0] >= 1) & (boxes[:, 3] - boxes[:, 1] >= 1)
    return seen.moved_to(boxes).take(visible)


def inner_gap(boxes: FloatArray, piece: Tile, width: int, height: int) -> FloatArray:
    """Distance of each box, float32 [N, 4], to the nearest edge of `piece` behind which the field goes on: float32 [N].

    As a share of the piece's longer side; infinite where no edge is an inner one.
    """
    right, bottom = piece.x0 + piece.width, piece.y0 + piece.height
    gaps = np.stack(
        [
            boxes[:, 0] - piece.x0 if piece.x0 > 0 else np.full(len(boxes), np.inf),
            boxes[:, 1] - piece.y0 if piece.y0 > 0 else np.full(len(boxes), np.inf),
            right - boxes[:, 2] if right < width else np.full(len(boxes), np.inf),
            bottom - boxes[:, 3] if bottom < height else np.full(len(boxes), np.inf),
        ]
    )
    return np.asarray(gaps.min(axis=0) / max(piece.width, piece.height), np.float32)


def _best_first(found: Candidates) -> Candidates:
    order = np.lexsort((found.boxes[:, 0], found.boxes[:, 1], found.kinds, -found.scores))
    return found.take(order)
