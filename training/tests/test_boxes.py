"""Which detection is the cell of a tile."""

import numpy as np
import pytest

from training.boxes import central_box

_WBC, _RBC, _PLATELET = 0, 1, 2


def _central(boxes, kinds):
    return central_box(np.array(boxes, np.float32).reshape(-1, 4), np.array(kinds, np.int64), (50.0, 50.0))


def test_the_detection_around_the_middle_is_the_cell():
    assert _central([(0, 0, 20, 20), (30, 35, 80, 75)], [_WBC, _WBC]) == [30, 35, 80, 75]


def test_of_several_the_one_whose_own_middle_is_nearest():
    assert _central([(0, 0, 60, 60), (40, 40, 62, 62), (45, 10, 55, 60)], [_WBC] * 3) == [40, 40, 62, 62]


def test_a_red_cell_is_never_the_cell_and_a_platelet_may_be():
    boxes = [(45, 45, 55, 55), (10, 10, 60, 60)]
    assert _central(boxes, [_RBC, _PLATELET]) == [10, 10, 60, 60]
    assert _central(boxes, [_RBC, _RBC]) is None


@pytest.mark.parametrize(
    ("box", "holds"),
    [
        ((50, 50, 60, 60), True),
        ((40, 40, 50, 60), False),
        ((40, 40, 60, 50), False),
        ((51, 40, 60, 60), False),
    ],
)
def test_boxes_are_half_open(box, holds):
    assert (_central([box], [_WBC]) is not None) == holds


def test_no_detection_is_no_cell():
    assert _central([], []) is None
