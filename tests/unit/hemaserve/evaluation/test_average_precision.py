"""Average precision, against values computed by hand."""

import pytest

from hemaserve.cells import Kind
from hemaserve.evaluation.average_precision import ScoredBox, average_precision
from hemaserve.geometry import Box

A, B, C = Box(0, 0, 10, 10), Box(20, 0, 30, 10), Box(40, 0, 50, 10)


def found(box: Box, score: float, kind: Kind = Kind.WBC) -> ScoredBox:
    return ScoredBox(box, kind, score)


def test_all_found_and_nothing_else_is_perfect():
    result = average_precision([[(A, Kind.WBC), (B, Kind.RBC)]], [[found(A, 0.9), found(B, 0.8, Kind.RBC)]])
    assert result.at_50 == pytest.approx({Kind.WBC: 1.0, Kind.RBC: 1.0})
    assert (result.mean_at_50, result.mean_at_50_to_95) == pytest.approx((1.0, 1.0))


def test_a_false_alarm_above_a_find_lowers_the_average_precision():
    # Precision is 1 up to recall 1/2, then 2/3: 51 of COCO's 101 recall levels are at 1, 50 at 2/3.
    result = average_precision(
        [[(A, Kind.WBC), (B, Kind.WBC)]], [[found(A, 0.9), found(C, 0.8), found(B, 0.7)]]
    )
    assert result.at_50[Kind.WBC] == pytest.approx((51 + 50 * 2 / 3) / 101)


def test_what_is_never_found_counts_as_nothing():
    result = average_precision([[(A, Kind.WBC), (B, Kind.WBC)]], [[found(A, 0.9)]])
    assert result.at_50[Kind.WBC] == pytest.approx(51 / 101)


def test_the_stricter_overlaps_count_in_the_mean_over_overlaps():
    # An overlap of 0.8 passes at 0.5, 0.55, ... 0.8 (7 of 10 overlaps).
    result = average_precision([[(A, Kind.WBC)]], [[found(Box(0, 0, 10, 8), 0.9)]])
    assert result.at_50[Kind.WBC] == pytest.approx(1.0)
    assert result.at_50_to_95[Kind.WBC] == pytest.approx(0.7)


def test_only_labelled_kinds_are_averaged():
    result = average_precision([[(A, Kind.WBC)]], [[found(A, 0.9), found(B, 0.9, Kind.PLATELET)]])
    assert result.at_50 == pytest.approx({Kind.WBC: 1.0})


def test_detections_belong_to_their_own_field():
    result = average_precision([[(A, Kind.WBC)], []], [[], [found(A, 0.9)]])
    assert result.at_50 == {Kind.WBC: 0.0}


def test_nothing_found_is_zero_and_nothing_labelled_is_nothing():
    assert average_precision([[(A, Kind.WBC)]], [[]]).mean_at_50 == 0.0
    assert average_precision([[]], [[found(A, 0.9)]]).mean_at_50 is None


def test_a_field_may_hold_hundreds_of_cells(capsys):
    boxes = [Box(x * 20, y * 20, x * 20 + 10, y * 20 + 10) for x in range(25) for y in range(20)]
    result = average_precision(
        [[(box, Kind.RBC) for box in boxes]], [[found(box, 0.9, Kind.RBC) for box in boxes]]
    )
    assert result.at_50[Kind.RBC] == pytest.approx(1.0)
    assert capsys.readouterr().out == ""
