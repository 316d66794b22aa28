"""Whether probabilities are honest, against values computed by hand and against the baseline itself."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemaserve.cells import PRIMARY_TYPES, CellType
from hemaserve.evaluation.calibration import LEAST_PROBABILITY, baseline_losses, calibration
from hemaserve.evaluation.guessing import Belief

A, B, C, *_ = PRIMARY_TYPES


def belief(truth: CellType, *probabilities: float) -> Belief:
    return Belief(dict(zip((A, B, C), probabilities, strict=True)), truth, identified=True)


def spread_evenly(right: bool, confidence: float, types: int) -> Belief:
    """A guess at the first type, as the baseline makes it."""
    names = PRIMARY_TYPES[:types]
    rest = (1 - confidence) / (types - 1)
    return Belief(dict.fromkeys(names, rest) | {A: confidence}, A if right else names[-1], identified=True)


def test_losses_equal_those_computed_by_hand():
    figures = calibration([belief(A, 0.7, 0.2, 0.1), belief(B, 0.5, 0.3, 0.2)])
    assert figures.n == 2
    assert figures.nll == pytest.approx(-(math.log(0.7) + math.log(0.3)) / 2)
    assert figures.brier == pytest.approx((0.09 + 0.04 + 0.01 + 0.25 + 0.49 + 0.04) / 2)
    assert figures.ece == pytest.approx((0.3 + 0.5) / 2)
    assert [each.n for each in figures.reliability] == [1, 1]


def test_the_baseline_is_as_sure_as_it_is_right_and_spreads_the_rest():
    # 3 of 4 right among 3 types: the guess has 0.75, each other type 0.125.
    nll, brier = baseline_losses(np.array(0.75), 3)
    assert nll == pytest.approx(-(3 * math.log(0.75) + math.log(0.125)) / 4)
    right, wrong = 0.25**2 + 2 * 0.125**2, 0.75**2 + 0.875**2 + 0.125**2
    assert brier == pytest.approx((3 * right + wrong) / 4)


@settings(max_examples=30)  # each draws a thousand bootstrap folds
@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 8))
def test_the_baseline_against_itself_has_a_ratio_of_one(right, wrong, types):
    confidence = right / (right + wrong)
    if confidence * types <= 1:  # so unsure that its own guess is not its likeliest type
        return
    cells = [spread_evenly(True, confidence, types)] * right
    cells += [spread_evenly(False, confidence, types)] * wrong
    figures = calibration(cells)
    assert figures.nll_ratio == pytest.approx(1)
    assert figures.brier_ratio == pytest.approx(1)
    assert figures.ece == pytest.approx(0)


@given(st.integers(1, 99), st.floats(0.01, 0.99))
def test_no_other_constant_confidence_is_likelier_than_the_baseline(percent_right, confidence):
    accuracy = percent_right / 100
    other = -(accuracy * math.log(confidence) + (1 - accuracy) * math.log((1 - confidence) / 7))
    assert baseline_losses(np.array(accuracy), 8)[0] <= other + 1e-12


def test_who_knows_which_cells_are_hard_beats_the_baseline():
    easy, hard = belief(A, 0.99, 0.005, 0.005), belief(B, 0.5, 0.45, 0.05)
    figures = calibration([easy] * 18 + [hard] * 2)
    assert figures.nll_ratio < 0.5
    assert figures.brier_ratio < 0.5
    for ratio, (low, high) in (
        (figures.nll_ratio, figures.nll_ratio_ci95),
        (figures.brier_ratio, figures.brier_ratio_ci95),
    ):
        assert low <= ratio <= high


def test_who_is_sure_and_wrong_is_worse_than_the_baseline():
    figures = calibration([belief(A, 0.99, 0.005, 0.005)] * 8 + [belief(B, 0.99, 0.005, 0.005)] * 2)
    assert figures.nll_ratio > 1
    assert figures.brier_ratio > 1


def test_against_a_perfect_baseline_there_is_no_ratio():
    figures = calibration([belief(A, 0.9, 0.1, 0.0)] * 5)
    assert (figures.nll_baseline, figures.brier_baseline) == (0, 0)
    assert (
        figures.nll_ratio is figures.nll_ratio_ci95 is figures.brier_ratio is figures.brier_ratio_ci95 is None
    )


@pytest.mark.parametrize("truth", [C, CellType.BLAST])
def test_what_was_held_impossible_costs_much_but_not_everything(truth):
    figures = calibration([belief(truth, 0.6, 0.4, 0.0)])
    assert figures.nll == pytest.approx(-math.log(LEAST_PROBABILITY))
    assert figures.brier == pytest.approx(0.36 + 0.16 + 1)


@settings(max_examples=30)
@given(
    st.lists(
        st.tuples(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), st.sampled_from([A, B, C])),
        min_size=1,
        max_size=15,
    )
)
def test_losses_stay_on_their_scales(cells):
    shares = [(np.array(weights) / sum(weights), truth) for weights, truth in cells]
    figures = calibration([belief(truth, *probabilities) for probabilities, truth in shares])
    assert figures.nll >= 0
    assert -1e-12 <= figures.brier <= 2
    assert sum(each.n for each in figures.reliability) == figures.n == len(cells)
    for interval in (figures.nll_ratio_ci95, figures.brier_ratio_ci95):
        assert interval is None or 0 <= interval[0] <= interval[1]
