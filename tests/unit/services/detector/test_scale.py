"""The size of a field's red cells tells how it is to be tiled."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemaserve.geometry import Tile
from services.detector.predictions import Candidates
from services.detector.scale import FEW_BOXES, probes, side_from_all, side_from_red_cells
from services.detector.tiling import TilingPolicy

POLICY = TilingPolicy(side_px=640, overlap=0.35, red_cell_share=0.215, most_tiles=1000)


def red_cells(piece, side, count, seed=0):
    """Cells of about this side, somewhere in the piece, but not at its edges."""
    random = np.random.default_rng(seed)
    sides = side * random.uniform(0.9, 1.1, (count, 1))
    room = np.array([piece.width, piece.height]) - 1.1 * side - 40
    low = np.array([piece.x0, piece.y0]) + 20 + random.uniform(0, 1, (count, 2)) * room
    boxes = np.concatenate([low, low + sides], axis=1).astype(np.float32)
    return Candidates(boxes, random.uniform(0.5, 1, count).astype(np.float32), np.ones(count, np.intp))


NOTHING = Candidates(np.empty((0, 4), np.float32), np.empty(0, np.float32), np.empty(0, np.intp))


@pytest.mark.parametrize(("width", "height"), [(16, 16), (40, 16), (16, 33)])
def test_a_field_too_small_for_smaller_pieces_is_its_only_probe(width, height):
    assert probes(width, height, POLICY) == [Tile(0, 0, width, height)]


@given(st.integers(16, 9000), st.integers(16, 9000))
def test_probes_are_few_lie_in_the_field_and_come_in_every_size_up_to_the_whole(width, height):
    pieces = probes(width, height, POLICY)
    assert pieces[-1] == Tile(0, 0, width, height)
    assert len(pieces) <= 5 * 4 + 1
    assert all(p.x0 >= 0 and p.x0 + p.width <= width for p in pieces)
    assert all(p.y0 >= 0 and p.y0 + p.height <= height for p in pieces)
    sides = [max(p.width, p.height) for p in pieces[:-1]]
    assert all(32 <= side <= 320 for side in sides[:1])
    assert all(b in (a, 2 * a) for a, b in pairwise(sides))


@pytest.mark.parametrize(("longest", "smallest"), [(224, 56), (640, 160), (1280, 320), (5472, 320)])
def test_the_smallest_probes_are_a_quarter_of_a_small_field_and_half_a_tile_of_a_large_one(longest, smallest):
    assert probes(longest, longest, POLICY)[0].width == smallest


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_boxes_of_any_kind_tell_how_large_cells_are(kind):
    seen = red_cells(Tile(0, 0, 224, 224), 21.5, 30)
    seen = Candidates(seen.boxes, seen.scores, np.full(30, kind, np.intp))
    assert side_from_all(seen, POLICY) == pytest.approx(100, rel=0.1)


@pytest.mark.parametrize(("count", "tells"), [(0, False), (FEW_BOXES - 1, False), (FEW_BOXES, True)])
def test_next_to_nothing_tells_nothing(count, tells):
    seen = red_cells(Tile(0, 0, 640, 480), 120, count)
    assert (side_from_all(seen, POLICY) is not None) is tells


@given(st.floats(60, 550), st.integers(0, 1000))
def test_the_side_follows_the_red_cells(side, seed):
    """Whatever their size: each piece reports those that it can see whole."""
    pieces = probes(5472, 3648, POLICY)
    seen = [
        red_cells(p, side, 12, seed + i) if 0.05 < side / p.width < 0.6 else NOTHING
        for i, p in enumerate(pieces)
    ]
    assert side_from_red_cells(pieces, seen, 5472, 3648, POLICY) == pytest.approx(side / 0.215, rel=0.1)


def test_parts_that_pass_for_red_cells_in_small_tiles_are_outvoted():
    pieces = probes(2000, 1500, POLICY)
    seen = [
        red_cells(p, 30, 20, i) if p.width <= 640 else red_cells(p, 320, 12, i) for i, p in enumerate(pieces)
    ]
    assert side_from_red_cells(pieces, seen, 2000, 1500, POLICY) == pytest.approx(320 / 0.215, rel=0.1)


def test_without_red_cells_nothing_is_concluded():
    pieces = probes(2000, 1500, POLICY)
    assert side_from_red_cells(pieces, [NOTHING] * len(pieces), 2000, 1500, POLICY) is None


def test_a_few_red_cells_are_too_few():
    pieces = probes(2000, 1500, POLICY)
    seen = [red_cells(pieces[0], 69, 2), *[NOTHING] * (len(pieces) - 1)]
    assert side_from_red_cells(pieces, seen, 2000, 1500, POLICY) is None


def test_cells_that_an_inner_edge_cut_off_do_not_count():
    pieces = probes(2000, 1500, POLICY)
    halves = red_cells(pieces[0], 69, 30)
    halves = halves.moved_to(np.tile(np.float32([280, 100, 320, 180]), (30, 1)))
    seen = [halves, *[NOTHING] * (len(pieces) - 1)]
    assert side_from_red_cells(pieces, seen, 2000, 1500, POLICY) is None
