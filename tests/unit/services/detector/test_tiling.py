"""Fields are looked at in pieces, and each cell comes back once and whole."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemaserve.geometry import Box, Tile, as_array
from services.detector.predictions import Candidates
from services.detector.tiling import Piece, TilingPolicy, merge, plan

POLICY = TilingPolicy(side_px=640, overlap=0.35, red_cell_share=0.215, most_tiles=1000)


def candidates(boxes, scores=None, kinds=None):
    count = len(boxes)
    return Candidates(
        as_array(boxes),
        np.array([0.9] * count if scores is None else scores, np.float32),
        np.array([0] * count if kinds is None else kinds, np.intp),
    )


def visible(cells, piece, scores):
    """What a perfect network sees of `cells` in a piece: the part of each that lies in it."""
    piece = piece.tile
    right, bottom = piece.x0 + piece.width, piece.y0 + piece.height
    parts = [
        (
            Box(max(c.x0, piece.x0), max(c.y0, piece.y0), min(c.x1, right), min(c.y1, bottom)),
            score,
        )
        for c, score in zip(cells, scores, strict=True)
    ]
    seen = [(part, score) for part, score in parts if part.width >= 1 and part.height >= 1]
    return candidates([part for part, _ in seen], [score for _, score in seen])


@pytest.mark.parametrize(("width", "height"), [(1, 1), (640, 480), (800, 600), (360, 800), (16, 16)])
def test_a_field_of_about_a_tiles_size_is_one_piece(width, height):
    assert plan(width, height, 640, POLICY) == [Piece(Tile(0, 0, width, height))]


def test_a_field_that_is_a_little_too_long_is_tiled_and_seen_whole_as_well():
    pieces = plan(801, 600, 640, POLICY)
    assert len(pieces) == 3
    assert all(piece.tile.width == 640 for piece in pieces[:-1])
    assert pieces[-1].tile == Tile(0, 0, 801, 600)


def test_a_20_megapixel_field_is_seen_in_tiles_of_640_and_in_ever_larger_ones_up_to_the_whole():
    pieces = plan(5472, 3648, 640, POLICY)
    sides = [piece.tile.width for piece in pieces]
    assert sorted(set(sides)) == [640, 1280, 2560, 5472]
    assert sides == sorted(sides)
    assert len(pieces) == 152


def test_each_layer_is_asked_only_for_what_the_one_before_may_not_have_whole():
    least = {piece.tile.width: piece.least_px for piece in plan(5472, 3648, 640, POLICY)}
    assert least == {640: 0, 1280: 0.8 * 224, 2560: 0.8 * 448, 5472: 0.8 * 896}


def test_at_a_known_scale_red_cells_are_as_large_as_in_training():
    # 7.5 um at 0.05 um/px are 150 px; a tile of 698 px makes them 0.215 of the network's input.
    assert POLICY.side_at_scale(0.05) == 698
    assert POLICY.side_at_scale(0.1) == 349


@pytest.mark.parametrize(("width", "height"), [(5472, 3648), (8000, 8000), (16384, 3900), (16384, 16)])
def test_no_scale_makes_more_tiles_than_a_field_may_cost(width, height):
    side = POLICY.side_at_scale(1.0)
    assert side < 40
    assert len(plan(width, height, side, POLICY)) < 2 * POLICY.most_tiles


@given(
    width=st.integers(801, 6000),
    height=st.integers(200, 6000),
    data=st.data(),
)
def test_a_cell_anywhere_in_a_large_field_is_found_once_and_whole(width, height, data):
    cell_width = data.draw(st.floats(4, 0.9 * min(width, height)))
    cell_height = cell_width * data.draw(st.floats(0.7, 1.0))
    x0 = data.draw(st.floats(0, width - cell_width))
    y0 = data.draw(st.floats(0, height - cell_height))
    cell = Box(x0, y0, x0 + cell_width, y0 + cell_height)
    pieces = plan(width, height, 640, POLICY)
    # A part may well get a better score than the whole.
    scores = data.draw(st.lists(st.floats(0.3, 1), min_size=len(pieces), max_size=len(pieces)))
    seen = [visible([cell], piece, [score]) for piece, score in zip(pieces, scores, strict=True)]
    found = merge(pieces, seen, width, height, nms_iou=0.5)
    assert len(found) == 1
    np.testing.assert_allclose(found.boxes, as_array([cell]), atol=0.01)


@given(st.integers(0, 2**32 - 1))
def test_many_cells_side_by_side_are_each_found_once_in_order_of_score(seed):
    random = np.random.default_rng(seed)
    width, height = 1900, 1300
    cells = [
        Box(x + dx, y + dy, x + dx + side, y + dy + side)
        for x in range(0, width - 150, 150)
        for y in range(0, height - 150, 150)
        for dx, dy, side in [random.uniform((0, 0, 10), (20, 20, 120))]
    ]
    scores = random.uniform(0.3, 1, len(cells))
    pieces = plan(width, height, 640, POLICY)
    found = merge(pieces, [visible(cells, piece, scores) for piece in pieces], width, height, nms_iou=0.5)
    order = np.argsort(-scores.astype(np.float32), kind="stable")
    np.testing.assert_allclose(found.scores, scores[order].astype(np.float32))
    np.testing.assert_allclose(found.boxes, as_array([cells[i] for i in order]), atol=0.01)


def test_a_cell_at_the_fields_own_edge_is_kept():
    pieces = plan(2000, 2000, 640, POLICY)
    cell = Box(1950, 0, 2000, 60)
    seen = [visible([cell], piece, [0.8]) for piece in pieces]
    found = merge(pieces, seen, 2000, 2000, nms_iou=0.5)
    np.testing.assert_allclose(found.boxes, as_array([cell]))


def test_a_part_that_ends_just_short_of_the_tiles_edge_gives_way_to_the_whole_cell_whatever_its_score():
    whole, part = Box(550, 100, 750, 300), Box(550, 100, 630, 300)
    pieces = [Piece(Tile(0, 0, 640, 640)), Piece(Tile(416, 0, 640, 640))]
    found = merge(pieces, [candidates([part], [0.95]), candidates([whole], [0.5])], 1056, 640, nms_iou=0.5)
    np.testing.assert_allclose(found.boxes, as_array([whole]))


def test_boxes_are_cut_down_to_the_field_and_those_outside_are_dropped():
    seen = candidates([Box(-10, -10, 50, 40), Box(700, 500, 720, 520), Box(639.5, 0, 700, 40)])
    found = merge([Piece(Tile(0, 0, 640, 480))], [seen], 640, 480, nms_iou=0.5)
    np.testing.assert_allclose(found.boxes, [[0, 0, 50, 40]])


def test_in_one_piece_a_small_cell_on_a_large_one_is_kept():
    seen = candidates([Box(0, 0, 100, 100), Box(40, 40, 60, 60)], [0.9, 0.8])
    assert len(merge([Piece(Tile(0, 0, 640, 480))], [seen], 640, 480, nms_iou=0.5)) == 2


def test_nothing_found_anywhere_is_an_answer():
    pieces = plan(2000, 1500, 640, POLICY)
    found = merge(pieces, [candidates([]) for _ in pieces], 2000, 1500, nms_iou=0.5)
    assert len(found) == 0


def test_what_is_small_in_a_layer_of_larger_tiles_is_not_believed():
    small, large = Box(100, 100, 200, 200), Box(500, 500, 800, 800)
    pieces = [Piece(Tile(0, 0, 1280, 960), least_px=180), Piece(Tile(0, 0, 640, 640))]
    found = merge(pieces, [candidates([small, large]), candidates([])], 1280, 960, nms_iou=0.5)
    np.testing.assert_allclose(found.boxes, as_array([large]))


def test_a_part_that_a_tiles_edge_cut_off_is_no_cell_even_if_the_whole_was_missed():
    pieces = [Piece(Tile(0, 0, 640, 640)), Piece(Tile(416, 0, 640, 640))]
    part = Box(550, 100, 640, 300)
    found = merge(pieces, [candidates([part]), candidates([])], 1056, 640, nms_iou=0.5)
    assert len(found) == 0
