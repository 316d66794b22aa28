"""PBC tiles as fields for the detector."""

import numpy as np
import pytest

from training.tile_fields import label_lines

_WBC, _RBC, _PLATELET = 0, 1, 2
_MIDDLE = (0.4, 0.4, 0.7, 0.7)
_CORNER = (0.0, 0.0, 0.2, 0.1)


def _lines(boxes, kinds, middle_kind=_WBC):
    return label_lines(np.array(boxes, float).reshape(-1, 4), np.array(kinds, int), middle_kind)


def test_the_cell_in_the_middle_gets_the_kind_that_is_known_of_it():
    assert _lines([_MIDDLE], [_PLATELET]) == ["0 0.55000 0.55000 0.30000 0.30000"]


def test_bystanders_keep_the_kind_that_the_earlier_detector_gave_them():
    lines = _lines([_CORNER, _MIDDLE], [_RBC, _WBC], middle_kind=_PLATELET)
    assert lines == ["1 0.10000 0.05000 0.20000 0.10000", "2 0.55000 0.55000 0.30000 0.30000"]


def test_of_several_that_cover_the_middle_the_most_central_one_is_meant():
    lines = _lines([(0.1, 0.1, 0.6, 0.6), (0.45, 0.45, 0.56, 0.56)], [_WBC, _PLATELET], middle_kind=_PLATELET)
    assert [line.split()[0] for line in lines] == ["0", "2"]
    lines = _lines([(0.1, 0.1, 0.6, 0.6), (0.45, 0.45, 0.56, 0.56)], [_PLATELET, _PLATELET], middle_kind=_WBC)
    assert [line.split()[0] for line in lines] == ["2", "0"]


@pytest.mark.parametrize(
    ("boxes", "kinds"),
    [([], []), ([_CORNER], [_WBC]), ([_MIDDLE], [_RBC])],
    ids=["nothing found", "nothing in the middle", "a red cell in the middle"],
)
def test_a_tile_without_a_white_cell_or_platelet_in_its_middle_is_left_out(boxes, kinds):
    assert _lines(boxes, kinds) == []


def test_the_kinds_given_are_not_changed():
    kinds = np.array([_PLATELET])
    label_lines(np.array([_MIDDLE]), kinds, _WBC)
    assert kinds.tolist() == [_PLATELET]
