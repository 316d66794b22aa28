"""The screen of a smear adds up its fields, and lists those to look at."""

from hemaserve.screen_count import MOST_FIELD_IDS, ScreenCount
from hemaserve.tally import FieldScreenTally, FieldTally


def tally(number: int, screen: FieldScreenTally | None) -> FieldTally:
    return FieldTally(f"field-{number}", number, screen=screen)


def test_a_field_that_was_not_screened_adds_nothing():
    assert ScreenCount().with_field(tally(1, None)) == ScreenCount()


def test_a_field_is_flagged_as_a_whole_or_for_its_cells():
    count = ScreenCount()
    for number, screen in enumerate(
        [FieldScreenTally(True, 0, 3), FieldScreenTally(False, 2, 5), FieldScreenTally(False, 0, 4)]
    ):
        count = count.with_field(tally(number, screen))
    assert count == ScreenCount(3, 1, 12, 2, ("field-0", "field-1"))
    assert count.flagged


def test_screened_and_not_flagged_is_not_flagged():
    assert not ScreenCount().with_field(tally(1, FieldScreenTally(False, 0, 9))).flagged


def test_beyond_the_contracts_limit_fields_are_counted_but_not_listed():
    count = ScreenCount()
    for number in range(MOST_FIELD_IDS + 5):
        count = count.with_field(tally(number, FieldScreenTally(True, 0, 0)))
    assert count.fields_flagged == MOST_FIELD_IDS + 5
    assert count.flagged_field_ids == tuple(f"field-{number}" for number in range(MOST_FIELD_IDS))
