"""What abstaining buys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemaserve.cells import CellType
from hemaserve.evaluation.abstention import SHARES, abstention, counted_reasons
from hemaserve.evaluation.guessing import Belief
from hemaserve.results import Classification
from hemaserve.results import UnidentifiedReason as Reason

MONOCYTE, BASOPHIL = CellType.MONOCYTE, CellType.BASOPHIL

cells = st.lists(st.tuples(st.floats(0.5, 1), st.booleans(), st.booleans()), min_size=1, max_size=60)


def belief(probability: float, *, right: bool = True, identified: bool = True) -> Belief:
    probabilities = {MONOCYTE: probability, BASOPHIL: 1 - probability}
    return Belief(probabilities, MONOCYTE if right else BASOPHIL, identified)


def test_the_unidentified_go_first_and_then_the_least_probable():
    # The sure and wrong one is unidentified, e.g. because the members disagree.
    guesses = [
        belief(0.9),
        belief(0.99, right=False, identified=False),
        belief(0.6, right=False),
        belief(0.8),
    ]
    by_classifier = abstention(guesses, shares=(0, 0.25, 0.5))
    by_probability = abstention(guesses, shares=(0, 0.25, 0.5), by_probability=True)
    assert [point.accuracy for point in by_classifier] == [0.5, pytest.approx(2 / 3), 1.0]
    assert [point.accuracy for point in by_probability] == [0.5, pytest.approx(2 / 3), 0.5]
    assert [point.n for point in by_classifier] == [4, 3, 2]


def test_only_whole_cells_are_set_aside_and_no_more_than_the_share():
    left = {n: abstention([belief(0.9)] * n, shares=(0.15,))[0].n for n in (6, 7, 20, 43)}
    assert left == {6: 6, 7: 6, 20: 17, 43: 37}


@given(cells)
def test_the_curve_starts_at_the_accuracy_of_all_cells(values):
    guesses = [belief(p, right=right, identified=identified) for p, right, identified in values]
    for by_probability in (False, True):
        (start,) = abstention(guesses, shares=(0,), by_probability=by_probability)
        assert start.n == len(guesses)
        assert start.accuracy == pytest.approx(sum(guess.right for guess in guesses) / len(guesses))


@given(cells)
def test_the_curve_ends_at_the_surest_cell(values):
    guesses = [belief(p, right=right, identified=identified) for p, right, identified in values]
    (end,) = abstention(guesses, shares=(1 - 1 / len(guesses),), by_probability=True)
    surest = max(guess.probability for guess in guesses)
    assert end.n == 1
    assert end.accuracy in {float(guess.right) for guess in guesses if guess.probability == surest}


@given(cells)
def test_setting_aside_all_unidentified_cells_leaves_the_identified_ones(values):
    guesses = [belief(p, right=right, identified=identified) for p, right, identified in values]
    identified = [guess for guess in guesses if guess.identified]
    if identified:
        (point,) = abstention(guesses, shares=(1 - len(identified) / len(guesses),))
        assert point.n == len(identified)
        assert point.accuracy == pytest.approx(sum(g.right for g in identified) / len(identified))


@given(cells)
def test_every_point_lies_in_its_interval(values):
    guesses = [belief(p, right=right, identified=identified) for p, right, identified in values]
    points = abstention(guesses)
    assert [point.share for point in points] == list(SHARES)
    for point in points:
        low, high = point.accuracy_ci95
        assert 0 <= low <= point.accuracy <= high <= 1


def test_of_no_cells_there_is_no_curve():
    assert abstention([]) == ()


def test_reasons_are_counted_by_cell():
    def said(*reasons: Reason) -> Classification:
        return Classification(False, None, None, 0.5, {}, unidentified_reasons=reasons)

    unlike, unsure = Reason.OUT_OF_DISTRIBUTION, Reason.LOW_PROBABILITY
    assert counted_reasons([said(unlike, unsure), said(unlike, unlike), said()]) == {unsure: 1, unlike: 2}
