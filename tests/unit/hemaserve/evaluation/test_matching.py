"""Matching found boxes and types with labelled ones."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hemaserve.cells import CellType
from hemaserve.evaluation.matching import central_box, centred_box, greedy_matches, right_types
from hemaserve.geometry import Box, as_array, iou_matrix

NEUTROPHIL, LYMPHOCYTE, MONOCYTE = CellType.NEUTROPHIL, CellType.LYMPHOCYTE, CellType.MONOCYTE

sides = st.integers(1, 40)
boxes = st.builds(
    lambda x, y, w, h: Box(x, y, x + w, y + h), st.integers(0, 60), st.integers(0, 60), sides, sides
)


def test_the_better_detection_takes_the_label():
    label = Box(0, 0, 10, 10)
    assert greedy_matches(as_array([Box(0, 0, 10, 9), Box(0, 0, 10, 10)]), as_array([label])) == [(0, 0)]


def test_a_detection_takes_the_free_label_that_it_overlaps_most():
    labels = as_array([Box(0, 0, 10, 10), Box(2, 0, 12, 10)])
    found = as_array([Box(2, 0, 12, 10), Box(1, 0, 11, 10)])
    assert greedy_matches(found, labels) == [(0, 1), (1, 0)]


def test_an_overlap_of_exactly_one_half_matches():
    assert greedy_matches(as_array([Box(0, 0, 10, 5)]), as_array([Box(0, 0, 10, 10)])) == [(0, 0)]
    assert greedy_matches(as_array([Box(0, 0, 10, 4)]), as_array([Box(0, 0, 10, 10)])) == []


def test_nothing_matches_nothing():
    none, one = as_array([]), as_array([Box(0, 0, 1, 1)])
    assert greedy_matches(none, one) == greedy_matches(one, none) == greedy_matches(none, none) == []


@given(st.lists(boxes, max_size=8), st.lists(boxes, max_size=8))
def test_matches_are_one_to_one_and_overlap_enough(found, labelled):
    found_array, labelled_array = as_array(found), as_array(labelled)
    before = found_array.copy()
    pairs = greedy_matches(found_array, labelled_array)
    assert len({i for i, _ in pairs}) == len({j for _, j in pairs}) == len(pairs)
    assert all(iou_matrix(found_array, labelled_array)[i, j] >= 0.5 for i, j in pairs)
    np.testing.assert_array_equal(found_array, before)


def test_the_central_box_holds_the_centre_and_is_nearest_to_it():
    near_but_beside = Box(51, 45, 55, 55)
    wide = Box(0, 0, 90, 100)
    snug = Box(44, 44, 58, 58)
    assert central_box([near_but_beside, wide, snug], 100, 100) == 2
    assert central_box([near_but_beside], 100, 100) is None
    assert central_box([], 100, 100) is None


def test_the_centred_box_is_a_share_of_the_shorter_side():
    assert centred_box(200, 100, 0.6) == Box(70, 20, 130, 80)


def test_a_field_with_one_type_holds_every_cell_to_it():
    assert right_types([NEUTROPHIL, NEUTROPHIL, MONOCYTE], [NEUTROPHIL]) == 2


def test_each_of_several_types_is_used_up_once():
    assert right_types([NEUTROPHIL, LYMPHOCYTE], [LYMPHOCYTE, NEUTROPHIL]) == 2
    assert right_types([NEUTROPHIL, NEUTROPHIL], [LYMPHOCYTE, NEUTROPHIL]) == 1
    assert right_types([MONOCYTE], [LYMPHOCYTE, NEUTROPHIL]) == 0
    assert right_types([], [LYMPHOCYTE, NEUTROPHIL]) == right_types([], []) == 0


types = st.sampled_from([NEUTROPHIL, LYMPHOCYTE, MONOCYTE])


@given(st.lists(types, max_size=5), st.lists(types, max_size=5), st.randoms())
def test_right_types_do_not_depend_on_the_order(answers, truths, random):
    right = right_types(answers, truths)
    assert 0 <= right <= len(answers)
    assert right == right_types(random.sample(answers, len(answers)), random.sample(truths, len(truths)))
