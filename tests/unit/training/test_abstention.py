"""The out-of-distribution score, and how limits and thresholds are chosen."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import logsumexp

from training.abstention import choose_threshold, energy, limit_tripped_by, within

logits = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.just(11)),
    elements=st.floats(-200, 200, width=32),
)
values = hnp.arrays(np.float64, st.integers(1, 300), elements=st.floats(-50, 50))


@given(logits)
def test_energy_is_minus_the_log_of_the_summed_powers(given_logits):
    np.testing.assert_allclose(
        energy(given_logits), -logsumexp(given_logits.astype(np.float64), axis=1), rtol=1e-9, atol=1e-9
    )


def test_energy_is_higher_where_nothing_stands_out():
    sure = np.array([[12, 0, 0]], np.float32)
    assert energy(np.zeros((1, 3), np.float32)) > energy(sure)


@given(values, st.floats(0, 0.99))
def test_a_limit_trips_no_more_than_its_share_and_is_no_higher_than_it_must_be(given_values, share):
    limit = limit_tripped_by(given_values, share)
    assert (given_values > limit).mean() <= share
    lower = given_values[given_values < limit - 1e-4]
    assert not lower.size or (given_values > lower.max()).mean() > share


def test_a_limit_is_one_of_the_values_rounded_up():
    assert limit_tripped_by(np.arange(1000) / 7, 0.005) == pytest.approx(994 / 7, abs=1e-4)
    assert limit_tripped_by(np.array([0.00001]), 0.01) == 0.0001


def test_a_limit_that_may_trip_none_is_the_greatest_value():
    assert limit_tripped_by(np.array([3.0, 1.0, 2.0]), 0) == 3.0


def test_no_crops_give_no_limit():
    with pytest.raises(ValueError, match="no crops"):
        limit_tripped_by(np.array([]), 0.01)


def test_all_crops_keep_to_a_limit_that_is_missing():
    scores = np.array([1.0, 2.0, 3.0])
    assert within(scores, 2.0).tolist() == [True, True, False]
    assert within(scores, None).all()
    assert within(None, 2.0).all()


def test_the_threshold_is_the_smallest_that_is_right_often_enough():
    confidence = np.linspace(0.5, 1, 1001)
    correct = confidence >= 0.52
    assert choose_threshold(confidence, correct, target=1.0) == pytest.approx(0.52)


def test_the_limit_on_unidentified_cells_wins_over_the_target():
    confidence = np.linspace(0.5, 1, 1001)
    correct = confidence >= 0.9
    chosen = choose_threshold(confidence, correct, target=1.0, max_unidentified=0.1)
    assert 0.09 <= (confidence < chosen).mean() <= 0.1


def test_wrong_cells_beyond_a_limit_need_no_threshold():
    confidence = np.full(1000, 0.9)
    correct = np.arange(1000) >= 20
    assert choose_threshold(confidence, correct, within_limits=correct) == 0.5


def test_cells_beyond_a_limit_count_as_unidentified():
    confidence = np.linspace(0.5, 1, 1001)
    correct = confidence >= 0.6
    beyond = confidence >= 0.97
    free = choose_threshold(confidence, correct, target=1.0, max_unidentified=0.15)
    assert choose_threshold(confidence, correct, ~beyond, target=1.0, max_unidentified=0.15) < free


def test_where_limits_alone_leave_too_many_unidentified_the_threshold_adds_none():
    confidence = np.full(100, 0.9)
    chosen = choose_threshold(confidence, np.arange(100) < 50, within_limits=np.arange(100) < 80)
    assert chosen == 0.5


def test_no_threshold_is_below_one_half():
    assert choose_threshold(np.linspace(0.1, 1, 100), np.ones(100, bool), max_unidentified=1.0) == 0.5
