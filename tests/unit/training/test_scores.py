"""Scores of a network's answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.scores import ScoreFigures, score

_LABELS = ("a", "b", "c")

answers = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60)


def _score(pairs) -> ScoreFigures:
    truth, answer = np.array(pairs, np.int64).T
    return score(truth, answer, _LABELS)


def test_figures_are_those_counted_by_hand():
    figures = _score([(0, 0), (0, 0), (0, 1), (1, 1), (1, 1)])
    assert figures.crops == 5
    assert figures.accuracy == pytest.approx(0.8)
    assert figures.macro_f1 == pytest.approx((4 / 5 + 4 / 5) / 2)
    assert figures.confusion == {"a": {"a": 2, "b": 1}, "b": {"b": 2}}


@given(answers)
def test_intervals_hold_their_figure_and_the_matrix_all_answers(pairs):
    figures = _score(pairs)
    assert 0 <= figures.accuracy_ci95[0] <= figures.accuracy <= figures.accuracy_ci95[1] <= 1
    assert 0 <= figures.macro_f1_ci95[0] <= figures.macro_f1_ci95[1] <= 1
    matrix = figures.matrix()
    assert matrix.shape == (3, 3)
    for truth, answer in pairs:
        matrix[truth, answer] -= 1
    assert not matrix.any()


@given(answers)
def test_figures_survive_being_stored(pairs):
    figures = _score(pairs)
    stored = ScoreFigures.model_validate_json(figures.model_dump_json())
    assert stored == figures
    np.testing.assert_array_equal(stored.matrix(), figures.matrix())


def test_nothing_to_score_is_an_error():
    empty = np.zeros(0, np.int64)
    with pytest.raises(ValueError, match="nothing to score"):
        score(empty, empty, _LABELS)
