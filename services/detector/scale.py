"""How large cells are in a field whose scale nobody gave: red cells are everywhere, and all of one size. Pure.

A network that is shown cells at several times the size that it was trained on takes parts of a nucleus for white
cells; one that is shown them far too small takes white cells for platelets. So a few pieces of several sizes are
looked at first. Fields enlarged two and three times had 18 to 46% precision for white cells without this, and the same
as the originals with it (docs/decisions/0008-scale-of-a-field.md). A field of about a tile's size is spared them
where its red cells, seen in one piece, are about as large as in training.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from hemaserve.geometry import Tile, tiles
from services.detector.predictions import Candidates
from services.detector.tiling import CUT_MARGIN, TilingPolicy, fits_one_piece, inner_gap, longer_sides

PROBES_PER_SIZE: Final = 4
"""Pieces of each size that are looked at, spread over the field."""

LEAST_PROBE_PX: Final = 32
"""Side of the smallest probes, in the field's pixels: a red cell that fits them has 7 px, and little to tell it by."""

CLOSE_ENOUGH: Final = 0.5
"""A field that is one piece is left at that where its red cells ask for tiles of this share of its longer side or more:
cells of half their size in training are still seen as well as in tiles. Real fields (TXL-PBC, val) ask for 0.76 or
more."""

FEW_BOXES: Final = 5
"""With fewer boxes in a field their sizes tell nothing."""

LEAST_EVIDENCE: Final = 2.5
"""Total weight below which nothing is concluded: some five red cells of middling score at about the right size."""

SPREAD_OCTAVES: Final = 0.5
"""How fast a red cell's word loses weight with its distance from the size in training, in doublings."""


def side_from_all(whole: Candidates, policy: TilingPolicy) -> int | None:
    """The tile side in pixels at which the median of all boxes would have the size of red cells in training.

    For fields in which no red cells are seen: those that are shown too small pass for platelets, and other cells are
    not many times larger.

    Args:
        whole: what the network saw in the field in one piece, in the field's pixels.

    Returns:
        None when it saw next to nothing.
    """
    if len(whole) < FEW_BOXES:
        return None
    return round(float(np.median(longer_sides(whole.boxes))) / policy.red_cell_share)


def probes(width: int, height: int, policy: TilingPolicy) -> list[Tile]:
    """Pieces to look at to learn the scale: some of a small side, some of twice that, and so on; the last is the field.

    The smallest have half the policy's side, or a quarter of the field's where that is less.
    """
    pieces: list[Tile] = []
    side = max(LEAST_PROBE_PX, min(policy.side_px // 2, max(width, height) // 4))
    while not fits_one_piece(width, height, side):
        of_side = tiles(width, height, tile=side, overlap=0)
        count = min(PROBES_PER_SIZE, len(of_side))
        pieces += [of_side[i] for i in np.linspace(0, len(of_side) - 1, count).round().astype(int)]
        side *= 2
    return [*pieces, Tile(0, 0, width, height)]


def side_from_red_cells(
    pieces: Sequence[Tile], red_cells: Sequence[Candidates], width: int, height: int, policy: TilingPolicy
) -> int | None:
    """The tile side in pixels at which this field's red cells have the size that they had in training.

    The weighted median of all red cells' longer sides decides; a cell counts by its score and by how near its size in
    its piece was to that in training, for there the network is right most often.

    Args:
        pieces: where the network looked.
        red_cells: the red cells that it saw in each, in the field's pixels.

    Returns:
        None when too few red cells were seen to tell.
    """
    sides, weights = [], []
    for piece, seen in zip(pieces, red_cells, strict=True):
        whole = seen.take(inner_gap(seen.boxes, piece, width, height) > CUT_MARGIN)
        side = longer_sides(whole.boxes)
        octaves = np.log2(side / max(piece.width, piece.height) / policy.red_cell_share)
        sides.append(side)
        weights.append(whole.scores * np.exp(-0.5 * (octaves / SPREAD_OCTAVES) ** 2))
    side, weight = np.concatenate(sides), np.concatenate(weights)
    if weight.sum() < LEAST_EVIDENCE:
        return None
    order = np.argsort(side)
    heavier_half = np.cumsum(weight[order]) >= weight.sum() / 2
    return round(float(side[order][heavier_half.argmax()]) / policy.red_cell_share)
