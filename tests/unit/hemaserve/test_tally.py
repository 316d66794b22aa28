"""A cell that two overlapping fields show is recognised by where it is on the slide."""

import math

import pytest

from hemaserve.cells import CellType
from hemaserve.tally import SlidePosition, TalliedCell, shown_before


def cell(x: float, y: float, diameter: float = 12.0) -> TalliedCell:
    return TalliedCell(CellType.LYMPHOCYTE, True, position=SlidePosition(x, y), diameter_um=diameter)


@pytest.mark.parametrize(
    ("here", "before", "same"),
    [
        (cell(100, 50), cell(100, 50), True),
        (cell(104, 53), cell(100, 50), True),
        (cell(106, 50), cell(100, 50), False),
        (cell(112, 50), cell(100, 50), False),
        (cell(107, 50, 8), cell(100, 50, 16), True),
        (cell(107, 50, 16), cell(100, 50, 8), True),
        (cell(105, 50, 0), cell(100, 50, 12), True),
        (cell(100, 50, 0), cell(100, 50, 0), False),
        (cell(math.nan, 50), cell(100, 50), False),
    ],
)
def test_within_half_the_larger_diameter_it_is_the_same(here, before, same):
    assert shown_before([here], [before]) == (same,)


def test_without_a_position_it_is_never_the_same():
    nowhere = TalliedCell(CellType.LYMPHOCYTE, True, diameter_um=12)
    assert shown_before([nowhere, cell(0, 0)], [nowhere]) == (False, False)


def test_each_cell_is_judged_by_itself():
    assert shown_before([cell(0, 0), cell(50, 0), cell(100, 0)], [cell(51, 0), cell(900, 0)]) == (
        False,
        True,
        False,
    )


def test_nothing_was_shown_before_the_first_field():
    assert shown_before([cell(0, 0)], []) == (False,)
    assert shown_before([], [cell(0, 0)]) == ()
