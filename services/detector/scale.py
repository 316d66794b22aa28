"""How large cells are in a field whose scale nobody gave: red cells are everywhere, and all of one size. Pure.

A network that is shown cells at several times the size that it was trained on takes parts of a nucleus for white
cells; one that is shown them far too small takes white cells for platelets. So a few pieces of several sizes are
looked at first. Fields enlarged two and three times had 18 to 46% precision for white cells without this, and the same
as the originals with it (docs/decisions/0008-scale-of-a-field.md).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from hemaserve.geometry import Tile, tiles
from services.detector.predictions import Candidates
from services.detector.tiling import CUT_MARGIN, ONE_PIECE, TilingPolicy, inner_gap, longer_sides

PROBES_PER_SIZE: Final = 4
"""Pieces of each size that are looked at, spread over the field."""

LEAST_EVIDENCE: Final = 2.5
"""Total weight below which nothing is concluded: some five red cells of middling score at about the right size."""

SPREAD_OCTAVES: Final = 0.5
"""How fast a red cell's word loses weight with its distance from the size in training, in doublings."""


def probes(width: int, height: int, policy: TilingPolicy) -> list[Tile]:
    """Pieces to look at before the scale is known: some of half the policy's side, of twice that, up to the whole.

    Empty for a field that is one piece anyway.
    """
    if max(width, height) <= ONE_PIECE * policy.side_px:
        return []
    pieces: list[Tile] = []
    side = policy.side_px // 2
    while max(width, height) > ONE_PIECE * side:
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
