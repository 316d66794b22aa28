"""The vote of an ensemble's members, and their disagreement."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hemaserve.cells import LEAF_TYPES, PRIMARY_TYPES, CellType, roll_up_matrix
from hemaserve.voting import disagreement, vote

TREE = roll_up_matrix(LEAF_TYPES, PRIMARY_TYPES)


def opinions(seed: int, members: int, crops: int = 5) -> list[NDArray[np.float32]]:
    random = np.random.default_rng(seed)
    return [random.dirichlet(np.full(len(LEAF_TYPES), 0.3), crops).astype(np.float32) for _ in range(members)]


def certain(leaf: CellType) -> NDArray[np.float32]:
    return np.array([[leaf is each for each in LEAF_TYPES]], np.float32)


@given(st.integers(0, 1000), st.integers(1, 4), st.floats(0.2, 5))
def test_a_vote_is_a_distribution_and_does_not_depend_on_the_order_of_the_members(seed, members, temperature):
    given_opinions = opinions(seed, members)
    voted = vote(given_opinions, temperature)
    np.testing.assert_allclose(voted.sum(axis=1), 1)
    np.testing.assert_allclose(voted, vote(given_opinions[::-1], temperature))


def test_a_vote_at_temperature_one_is_the_mean():
    first, second = opinions(1, 2)
    np.testing.assert_allclose(vote([first, second], 1), (first + second) / 2, rtol=1e-5)


def test_a_low_temperature_sharpens_and_a_high_one_softens():
    given_opinions = opinions(2, 3)
    best = [vote(given_opinions, temperature).max(axis=1) for temperature in (0.5, 1, 2)]
    assert (best[0] > best[1]).all()
    assert (best[1] > best[2]).all()


def test_the_temperature_is_the_root_that_is_taken():
    own = np.array([[0.6, 0.4]], np.float32)
    assert vote([own], 0.5)[0, 0] == pytest.approx(0.36 / (0.36 + 0.16))
    assert vote([own], 2.0)[0, 0] == pytest.approx(0.6**0.5 / (0.6**0.5 + 0.4**0.5))


@given(st.integers(0, 1000), st.integers(1, 4), st.floats(0.05, 20))
def test_a_vote_keeps_the_winner_of_the_mean(seed, members, temperature):
    given_opinions = opinions(seed, members)
    voted = vote(given_opinions, temperature)
    winner = np.mean(given_opinions, axis=0).argmax(axis=1)
    assert np.all(voted[np.arange(len(voted)), winner] >= voted.max(axis=1) * (1 - 1e-4))


def test_a_very_low_temperature_leaves_the_winner_and_no_nan():
    given_opinions = [np.full((1, 11), 1e-30, np.float32)]
    given_opinions[0][0, 3] = 1e-28
    np.testing.assert_allclose(vote(given_opinions, 0.01), certain(LEAF_TYPES[3]), atol=1e-9)


@given(st.integers(0, 1000), st.integers(2, 4))
def test_disagreement_is_between_0_and_1_and_grows_with_every_further_member(seed, members):
    given_opinions = opinions(seed, members)
    apart = disagreement(given_opinions, TREE)
    assert apart.dtype == np.float32
    assert ((apart >= 0) & (apart <= 1)).all()
    assert (disagreement([*given_opinions, *opinions(seed + 1, 1)], TREE) >= apart).all()


def test_members_that_say_the_same_do_not_disagree():
    same = opinions(3, 1) * 3
    np.testing.assert_array_equal(disagreement(same, TREE), np.zeros(5))


def test_members_that_are_sure_of_different_types_disagree_by_1():
    assert disagreement([certain(CellType.MONOCYTE), certain(CellType.BASOPHIL)], TREE) == [1]


def test_leaves_of_one_primary_type_are_no_disagreement():
    bands = certain(CellType.NEUTROPHIL_BAND)
    assert disagreement([bands, certain(CellType.NEUTROPHIL_SEGMENTED)], TREE) == [0]


def test_the_two_that_are_farthest_apart_count():
    half = (certain(CellType.MONOCYTE) + certain(CellType.BASOPHIL)) / 2
    assert disagreement([half, certain(CellType.MONOCYTE)], TREE) == [pytest.approx(0.5)]
    three = [half, certain(CellType.MONOCYTE), certain(CellType.BASOPHIL)]
    assert disagreement(three, TREE) == [1]
