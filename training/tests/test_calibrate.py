"""Temperatures, calibration error and thresholds."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("ultralytics")

from training.calibrate import expected_calibration_error, fit_temperature
from training.ensemble import vote
from training.evaluate import choose_threshold
from training.predict import softmax


def test_the_fitted_temperature_undoes_overconfidence():
    generator = np.random.default_rng(0)
    honest = generator.normal(size=(20_000, 11)) * 2
    drawn = np.array([generator.choice(11, p=row) for row in softmax(honest)])
    mask = np.eye(11, dtype=bool)[drawn]
    assert fit_temperature(lambda t: softmax(honest * 3, t), mask) == pytest.approx(3, rel=0.05)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    confidence = np.full(100, 0.9)
    assert expected_calibration_error(confidence, np.arange(100) < 90) == pytest.approx(0)
    assert expected_calibration_error(confidence, np.arange(100) < 60) == pytest.approx(0.3)


def test_the_threshold_is_the_smallest_that_is_right_often_enough():
    confidence = np.linspace(0.5, 1, 1001)
    correct = confidence >= 0.52
    assert choose_threshold(confidence, correct, target=1.0) == pytest.approx(0.52)


def test_the_limit_on_unidentified_cells_wins_over_the_target():
    confidence = np.linspace(0.5, 1, 1001)
    correct = confidence >= 0.9
    chosen = choose_threshold(confidence, correct, target=1.0, max_unidentified=0.1)
    assert (confidence < chosen).mean() <= 0.1


def test_a_vote_of_one_member_at_temperature_one_is_that_member():
    probabilities = softmax(np.random.default_rng(0).normal(size=(5, 11)))
    np.testing.assert_allclose(vote([probabilities]), probabilities)


def test_a_vote_keeps_probabilities_and_sharpens_below_one():
    members = [softmax(np.random.default_rng(seed).normal(size=(5, 11))) for seed in range(2)]
    sharp = vote(members, temperature=0.5)
    np.testing.assert_allclose(sharp.sum(axis=1), 1)
    assert (sharp.max(axis=1) > vote(members).max(axis=1)).all()
