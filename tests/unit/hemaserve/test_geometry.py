"""Overlap, suppression and tiling, over all boxes and fields that may come."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemaserve.geometry import Box, as_array, iou_matrix, nms, tiles

# Few different corners, so that boxes often share one.
corner = st.integers(0, 12)


@st.composite
def boxes(draw) -> Box:
    x0, y0 = draw(corner), draw(corner)
    return Box(x0, y0, x0 + draw(st.integers(1, 40)), y0 + draw(st.integers(1, 40)))


@st.composite
def scored_boxes(draw) -> tuple[np.ndarray, np.ndarray]:
    found = draw(st.lists(boxes(), max_size=25))
    # Few different scores, so that ties are common.
    scores = draw(st.lists(st.sampled_from([0.25, 0.5, 0.75]), min_size=len(found), max_size=len(found)))
    return as_array(found), np.array(scores, np.float32)


class TestOverlap:
    @given(boxes(), boxes())
    def test_it_is_the_share_of_common_pixels(self, a, b):
        def pixels(box: Box) -> set[tuple[int, int]]:
            return {(x, y) for x in range(int(box.x0), int(box.x1)) for y in range(int(box.y0), int(box.y1))}

        common, either = len(pixels(a) & pixels(b)), len(pixels(a) | pixels(b))
        assert a.iou(b) == pytest.approx(common / either, abs=1e-6)

    @given(boxes(), boxes())
    def test_it_is_symmetric(self, a, b):
        assert a.iou(b) == b.iou(a)

    @given(boxes())
    def test_a_box_is_all_of_itself(self, box):
        assert box.iou(box) == 1

    def test_no_boxes_overlap_nothing(self):
        assert iou_matrix(as_array([]), as_array([Box(0, 0, 1, 1)])).shape == (0, 1)


class TestBox:
    def test_it_is_half_open(self):
        box = Box(1, 2, 4, 8)
        assert (box.width, box.height, box.center) == (3, 6, (2.5, 5))
        assert box.contains(1, 2)
        assert not box.contains(4, 5)
        assert not box.contains(2, 8)


def _contained(rows: np.ndarray) -> np.ndarray:
    """Of every pair of boxes, the share of the smaller one that lies in the other."""
    low = np.maximum(rows[:, None, :2], rows[None, :, :2])
    high = np.minimum(rows[:, None, 2:], rows[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    areas = (rows[:, 2:] - rows[:, :2]).prod(axis=1)
    return np.asarray(common / np.minimum(areas[:, None], areas[None, :]), np.float32)


class TestSuppression:
    @given(scored_boxes(), st.floats(0.1, 0.9), st.sampled_from([1.0, 0.8]))
    def test_what_is_kept_overlaps_little_and_what_is_dropped_overlaps_something_better(
        self, found, threshold, containment
    ):
        rows, scores = found
        kept = nms(rows, scores, iou_threshold=threshold, containment_threshold=containment)
        assert list(scores[kept]) == sorted(scores[kept], reverse=True)
        too_close = (iou_matrix(rows, rows) > threshold) | (_contained(rows) > containment)
        for i in range(len(rows)):
            rivals = [k for k in kept if k != i and too_close[i, k]]
            if i in kept:
                assert not rivals
            else:
                assert any(scores[k] >= scores[i] for k in rivals)

    @given(scored_boxes(), st.floats(0.1, 0.9))
    def test_a_second_time_changes_nothing(self, found, threshold):
        rows, scores = found
        kept = nms(rows, scores, iou_threshold=threshold)
        again = nms(rows[kept], scores[kept], iou_threshold=threshold)
        assert list(again) == list(range(len(kept)))

    @given(scored_boxes(), st.floats(0.1, 0.9), st.randoms())
    def test_the_order_of_the_input_does_not_matter(self, found, threshold, random):
        rows, scores = found
        shuffled = list(range(len(rows)))
        random.shuffle(shuffled)
        kept = nms(rows, scores, iou_threshold=threshold)
        kept_of_shuffled = nms(rows[shuffled], scores[shuffled], iou_threshold=threshold)
        assert rows[kept].tolist() == rows[shuffled][kept_of_shuffled].tolist()

    @pytest.mark.parametrize("order", [[0, 1], [1, 0]])
    def test_of_equally_good_boxes_with_one_corner_always_the_same_is_kept(self, order):
        rows = as_array([Box(0, 0, 10, 10), Box(0, 0, 12, 10)])[order]
        kept = nms(rows, np.array([0.5, 0.5], np.float32), iou_threshold=0.5)
        assert rows[kept].tolist() == [[0, 0, 10, 10]]

    def test_the_part_that_a_tile_cut_off_goes(self):
        rows = as_array([Box(0, 0, 100, 100), Box(0, 0, 100, 20)])
        scores = np.array([0.9, 0.8], np.float32)
        assert list(nms(rows, scores, iou_threshold=0.5)) == [0, 1]
        assert list(nms(rows, scores, iou_threshold=0.5, containment_threshold=0.8)) == [0]

    def test_nothing_gives_nothing(self):
        assert nms(as_array([]), np.zeros(0, np.float32), iou_threshold=0.5).size == 0


@st.composite
def tilings(draw) -> tuple[int, int, int, int]:
    tile = draw(st.integers(2, 200))
    return draw(st.integers(1, 1500)), draw(st.integers(1, 1500)), tile, draw(st.integers(0, tile - 1))


class TestTiles:
    @given(tilings())
    @settings(deadline=None)
    def test_they_lie_in_the_field_and_are_as_large_as_it_allows(self, tiling):
        width, height, tile, overlap = tiling
        # A step of one pixel makes a square million of tiles, which says nothing more.
        overlap = min(overlap, int(tile * 0.9))
        for t in tiles(width, height, tile=tile, overlap=overlap):
            assert (t.width, t.height) == (min(tile, width), min(tile, height))
            assert 0 <= t.x0 <= width - t.width
            assert 0 <= t.y0 <= height - t.height

    @given(tilings(), st.data())
    @settings(deadline=None)
    def test_whatever_is_no_larger_than_the_overlap_lies_whole_in_one(self, tiling, data):
        width, height, tile, overlap = tiling
        overlap = min(overlap, int(tile * 0.9))
        object_width, object_height = min(max(1, overlap), width), min(max(1, overlap), height)
        x = data.draw(st.integers(0, width - object_width))
        y = data.draw(st.integers(0, height - object_height))
        assert any(
            t.x0 <= x
            and t.y0 <= y
            and x + object_width <= t.x0 + t.width
            and y + object_height <= t.y0 + t.height
            for t in tiles(width, height, tile=tile, overlap=overlap)
        )

    @given(st.integers(1, 3000), st.integers(2, 200), st.floats(0, 0.9))
    def test_there_are_no_more_than_needed(self, width, tile, share):
        overlap = int(share * tile)
        found = tiles(width, 1, tile=tile, overlap=overlap)
        if len(found) > 1:
            fewer = len(found) - 1
            assert fewer * tile - (fewer - 1) * overlap < width

    def test_a_field_as_large_as_a_tile_is_one(self):
        assert len(tiles(416, 416, tile=416, overlap=100)) == 1
        assert len(tiles(417, 416, tile=416, overlap=100)) == 2

    @pytest.mark.parametrize(
        "arguments",
        [
            {"width": 10, "height": 10, "tile": 8, "overlap": 8},
            {"width": 10, "height": 10, "tile": 8, "overlap": -1},
            {"width": 0, "height": 10, "tile": 8, "overlap": 2},
        ],
    )
    def test_impossible_ones_are_refused(self, arguments):
        size = {"width": arguments.pop("width"), "height": arguments.pop("height")}
        with pytest.raises(ValueError, match=r"overlap|empty"):
            tiles(**size, **arguments)
