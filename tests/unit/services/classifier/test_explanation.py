"""From evidence and probabilities to the map of what speaks for a type."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemaserve.cells import LEAF_TYPES, PRIMARY_TYPES, CellType, belongs_to
from hemaserve.errors import InvalidArgument
from services.classifier.explanation import (
    as_bytes,
    check_type,
    contributions,
    explanation,
    mean_map,
    type_weights,
)

LEAVES = len(LEAF_TYPES)
ANY_TYPE = st.sampled_from([*LEAF_TYPES, *PRIMARY_TYPES])
NUMBER = st.floats(-20, 20, width=32)
SEED = st.integers(0, 2**32 - 1)
LOGITS = st.builds(lambda seed, spread: numbers(seed, spread, LEAVES), SEED, st.sampled_from([0, 1, 10, 40]))
GRID = st.tuples(st.integers(1, 7), st.integers(1, 7))


def numbers(seed, spread, *shape):
    """Numbers of that spread, a third of them 0."""
    random = np.random.default_rng(seed)
    return (spread * random.normal(size=shape) * (random.random(shape) < 2 / 3)).astype(np.float32)


@st.composite
def evidence(draw):
    return numbers(draw(SEED), draw(st.sampled_from([0, 0.1, 3, 20])), LEAVES, *draw(GRID))


def softmax(logits):
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def log_odds(logits, cell_type):
    inside = np.array([belongs_to(leaf, cell_type) for leaf in LEAF_TYPES])
    return np.logaddexp.reduce(logits[inside]) - np.logaddexp.reduce(logits[~inside])


@given(LOGITS, ANY_TYPE)
def test_the_types_leaves_weigh_one_in_all_and_its_rivals_minus_one(logits, cell_type):
    weights = type_weights(softmax(logits).astype(np.float32), LEAF_TYPES, cell_type)
    for leaf, weight in zip(LEAF_TYPES, weights, strict=True):
        assert weight >= 0 if belongs_to(leaf, cell_type) else weight <= 0
    assert weights[weights > 0].sum() == pytest.approx(1)
    assert weights[weights < 0].sum() == pytest.approx(-1)


@given(st.sampled_from(LEAF_TYPES), ANY_TYPE)
def test_certainty_divides_by_nothing(certain, cell_type):
    probabilities = np.array([leaf is certain for leaf in LEAF_TYPES], np.float32)
    weights = type_weights(probabilities, LEAF_TYPES, cell_type)
    assert np.isfinite(weights).all()
    assert weights.sum() == pytest.approx(0)
    assert weights[LEAF_TYPES.index(certain)] == (1 if belongs_to(certain, cell_type) else -1)


def test_of_the_rivals_the_closest_counts_most():
    probabilities = np.full(LEAVES, 0.01, np.float32)
    probabilities[LEAF_TYPES.index(CellType.MONOCYTE)] = 0.6
    probabilities[LEAF_TYPES.index(CellType.LYMPHOCYTE)] = 0.31
    weights = dict(zip(LEAF_TYPES, type_weights(probabilities, LEAF_TYPES, CellType.MONOCYTE), strict=True))
    assert weights[CellType.MONOCYTE] == 1
    assert weights[CellType.LYMPHOCYTE] == pytest.approx(-0.31 / 0.4)
    assert weights[CellType.PLATELET] == pytest.approx(-0.01 / 0.4)


@given(evidence(), LOGITS, ANY_TYPE, SEED)
def test_the_map_says_how_the_log_odds_move_when_a_places_evidence_does(found, constants, cell_type, seed):
    def at(places):
        return log_odds(places.astype(np.float64).mean(axis=(1, 2)) + constants, cell_type)

    logits = found.astype(np.float64).mean(axis=(1, 2)) + constants
    weights = type_weights(softmax(logits), LEAF_TYPES, cell_type)
    random = np.random.default_rng(seed)
    change = 1e-4 * random.normal(size=found.shape)
    moved = at(found + change) - at(found)
    assert contributions(change, weights).mean() == pytest.approx(moved, rel=1e-2, abs=1e-7)


@given(evidence(), LOGITS, ANY_TYPE, NUMBER)
def test_what_speaks_for_all_types_alike_speaks_for_none(found, logits, cell_type, shift):
    weights = type_weights(softmax(logits).astype(np.float32), LEAF_TYPES, cell_type)
    shifted = contributions(found + np.float32(shift), weights)
    np.testing.assert_allclose(shifted, contributions(found, weights), atol=1e-4)


@given(evidence(), LOGITS, ANY_TYPE)
def test_of_two_places_the_one_that_adds_more_is_never_shown_as_less(found, logits, cell_type):
    probabilities = softmax(logits).astype(np.float32)
    weighed = contributions(found, type_weights(probabilities, LEAF_TYPES, cell_type))
    shown = explanation({"a": found}, {"a": probabilities}, LEAF_TYPES, cell_type)
    assert shown.cell_type is cell_type
    assert shown.values.dtype == np.uint8
    assert shown.values.shape == found.shape[1:]
    order = np.argsort(weighed, axis=None)
    assert (np.diff(shown.values.ravel()[order].astype(int)) >= 0).all()
    assert shown.values.max() == (255 if weighed.max() > 0 else 0)
    assert not shown.values[weighed <= 0].any()


@given(evidence(), LOGITS, ANY_TYPE)
def test_rounding_is_not_blown_up_to_a_map(found, logits, cell_type):
    found = np.broadcast_to(found[:1], found.shape)
    shown = explanation({"a": found}, {"a": softmax(logits).astype(np.float32)}, LEAF_TYPES, cell_type)
    assert not shown.values.any()


@given(evidence(), LOGITS, st.floats(0.125, 8, width=32))
def test_a_members_units_do_not_matter(found, logits, unit):
    probabilities = softmax(logits).astype(np.float32)
    weights = type_weights(probabilities, LEAF_TYPES, CellType.MONOCYTE)
    one, other = contributions(found, weights), contributions(found * np.float32(unit), weights)
    np.testing.assert_allclose(mean_map([one, -one / 2]), mean_map([other, -one / 2]), atol=1e-4)


@given(st.lists(GRID, min_size=1, max_size=4))
def test_members_are_brought_to_the_finest_grid(grids):
    maps = [np.full(grid, -3.0) for grid in grids]
    mean = mean_map(maps)
    assert mean.shape == (max(rows for rows, _ in grids), max(columns for _, columns in grids))
    np.testing.assert_allclose(mean, -1, atol=1e-6)


def test_what_one_member_marks_another_can_take_back():
    one = np.array([[1.0, 0.5], [0.0, 0.0]])
    other = np.array([[-2.0, 1.0], [0.0, 0.0]])
    assert as_bytes(mean_map([one, other])).tolist() == [[0, 255], [0, 0]]


def test_a_coarse_map_covers_the_same_square_as_a_fine_one():
    coarse = np.array([[1.0, 0.0], [0.0, 0.0]])
    fine = mean_map([coarse, np.zeros((8, 8))])
    assert fine[:2, :2].min() == pytest.approx(0.5)
    assert fine[:4, :4].sum() > 0.7 * fine.sum()
    assert fine[6:, 6:].max() == 0


@pytest.mark.parametrize("values", [np.zeros((3, 3)), np.full((3, 3), -1.0)])
def test_where_nothing_speaks_for_a_type_nothing_is_marked(values):
    assert not as_bytes(values).any()


def test_each_member_is_weighed_by_its_own_probabilities():
    found = np.zeros((LEAVES, 1, 2), np.float32)
    lymphocyte, monocyte = LEAF_TYPES.index(CellType.LYMPHOCYTE), LEAF_TYPES.index(CellType.MONOCYTE)
    found[lymphocyte, 0, 0] = found[monocyte, 0, 1] = -1
    rivals = {}
    for name, rival in (("a", lymphocyte), ("b", monocyte)):
        rivals[name] = np.zeros(LEAVES, np.float32)
        rivals[name][LEAF_TYPES.index(CellType.BASOPHIL)] = 0.5
        rivals[name][rival] = 0.5
    only = {
        name: explanation({name: found}, rivals, LEAF_TYPES, CellType.BASOPHIL).values.tolist()
        for name in rivals
    }
    assert only == {"a": [[255, 0]], "b": [[0, 255]]}
    both = explanation({"a": found, "b": found}, rivals, LEAF_TYPES, CellType.BASOPHIL)
    assert both.values.tolist() == [[255, 255]]


def test_a_type_without_leaves_here_is_refused_and_those_with_leaves_are_named():
    with pytest.raises(InvalidArgument) as error:
        check_type(CellType.BLAST, LEAF_TYPES)
    assert error.value.field == "type"
    assert error.value.value == "blast"
    assert "neutrophil_band" in error.value.allowed
    assert "immature_granulocyte" in error.value.allowed
    for cell_type in (*LEAF_TYPES, *PRIMARY_TYPES):
        check_type(cell_type, LEAF_TYPES)
