"""Figures of merit, against values computed by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemaserve.evaluation.metrics import (
    bootstrap_intervals,
    confusion_matrix,
    expected_calibration_error,
    scores,
)

#            answered: a   b   c
CONFUSION = np.array([[8, 2, 0], [1, 4, 0], [0, 1, 4]])

counts = st.integers(1, 4).flatmap(
    lambda size: st.lists(
        st.lists(st.integers(0, 30), min_size=size, max_size=size), min_size=size, max_size=size
    )
)


def test_confusion_matrix_has_truths_as_rows_and_answers_as_columns():
    matrix = confusion_matrix(["a", "a", "b"], ["a", "b", "b"], ["a", "b", "c"])
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_scores_equal_those_computed_by_hand():
    result = scores(CONFUSION)
    assert result.accuracy == pytest.approx(16 / 20)
    assert result.precision == pytest.approx([8 / 9, 4 / 7, 1.0])
    assert result.recall == pytest.approx([8 / 10, 4 / 5, 4 / 5])
    assert result.specificity == pytest.approx([9 / 10, 12 / 15, 1.0])
    assert result.f1 == pytest.approx([16 / 19, 8 / 12, 8 / 9])
    assert result.macro_f1 == pytest.approx((16 / 19 + 8 / 12 + 8 / 9) / 3)


def test_macro_f1_leaves_out_types_without_images():
    result = scores(np.array([[3, 1], [0, 0]]))
    assert result.macro_f1 == pytest.approx(6 / 7)


def test_a_share_of_nothing_is_nan():
    result = scores(np.array([[0, 2], [0, 3]]))
    assert np.isnan(result.precision[0])
    assert result.recall[0] == 0
    assert np.isnan(scores(np.zeros((2, 2), int)).accuracy)


@given(counts)
def test_scores_of_a_stack_are_those_of_each_matrix(rows):
    matrix = np.array(rows)
    stacked = scores(np.stack([matrix, matrix.T]))
    for index, single in enumerate((scores(matrix), scores(matrix.T))):
        np.testing.assert_array_equal(stacked.f1[index], single.f1)
        np.testing.assert_array_equal(stacked.accuracy[index], single.accuracy)
        np.testing.assert_array_equal(stacked.macro_f1[index], single.macro_f1)


@given(counts)
def test_f1_is_the_harmonic_mean_of_precision_and_recall(rows):
    result = scores(np.array(rows))
    known = (result.precision > 0) & (result.recall > 0)
    harmonic = 2 / (1 / result.precision[known] + 1 / result.recall[known])
    assert result.f1[known] == pytest.approx(harmonic)


@given(counts)
def test_bootstrap_intervals_are_ordered_and_repeat_themselves(rows):
    matrix = np.array(rows)
    first, second = (bootstrap_intervals(matrix, folds=50) for _ in range(2))
    assert first == second
    per_label = [*first.precision, *first.recall, *first.specificity, *first.f1]
    for low, high in [*per_label, first.accuracy, first.macro_f1]:
        assert 0 <= low <= high <= 1


def test_bootstrap_interval_of_a_share_is_as_wide_as_theory_says():
    # 400 images, 320 of them right: the standard error of recall is sqrt(0.8 * 0.2 / 400) = 0.02.
    low, high = bootstrap_intervals(np.array([[320, 80], [0, 400]])).recall[0]
    assert low == pytest.approx(0.8 - 1.96 * 0.02, abs=0.006)
    assert high == pytest.approx(0.8 + 1.96 * 0.02, abs=0.006)


def test_bootstrap_interval_of_the_accuracy_is_as_wide_as_theory_says():
    # 900 of 1000 right: the standard error is sqrt(0.9 * 0.1 / 1000) = 0.0095.
    low, high = bootstrap_intervals(np.array([[500, 40], [60, 400]])).accuracy
    assert low == pytest.approx(0.9 - 1.96 * 0.0095, abs=0.003)
    assert high == pytest.approx(0.9 + 1.96 * 0.0095, abs=0.003)


def test_bootstrap_is_sure_of_a_faultless_classifier():
    intervals = bootstrap_intervals(np.diag([30, 40]))
    assert intervals.f1 == [(1.0, 1.0), (1.0, 1.0)]


def test_bootstrap_knows_nothing_without_images():
    assert bootstrap_intervals(np.zeros((1, 1), int)).recall == [(0.0, 1.0)]


def test_calibration_error_is_the_weighted_gap_between_claim_and_truth():
    # Bins of a tenth: two answers at 0.95 (one right: gap 0.45), two at 0.55 (both right: gap 0.45),
    # one at 0.25 (wrong: gap 0.25).
    error = expected_calibration_error(
        [0.95, 0.95, 0.55, 0.55, 0.25], [True, False, True, True, False], bins=10
    )
    assert error == pytest.approx((2 * 0.45 + 2 * 0.45 + 0.25) / 5)


def test_calibration_bins_hold_their_upper_edge():
    # 0.5 belongs to (0, 0.5]: with 0.4 in one bin the gaps cancel, in two bins they would not.
    assert expected_calibration_error([0.5, 0.5], [True, False], bins=2) == 0
    assert expected_calibration_error([0.4, 0.5, 0.6], [False, True, True], bins=2) == pytest.approx(
        (abs(1 - 0.9) + 0.4) / 3
    )


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_calibration_error_takes_the_ends_of_the_scale(probability):
    assert expected_calibration_error([probability], [probability == 1.0]) == 0


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), max_size=40), st.randoms())
def test_calibration_error_is_a_share_and_knows_no_order(answers, random):
    shuffled = random.sample(answers, len(answers))
    first, second = (
        expected_calibration_error([p for p, _ in pairs], [right for _, right in pairs])
        for pairs in (answers, shuffled)
    )
    assert 0 <= first <= 1
    assert first == pytest.approx(second)
