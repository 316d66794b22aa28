"""Rounds in turns, and what is told of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.rounds import interleaved, ratio, spread

RATES = st.lists(st.floats(0.1, 1e6), min_size=1, max_size=9)


def test_contenders_take_turns_and_every_other_round_goes_backwards():
    order: list[str] = []

    def contender(name: str):
        return lambda: order.append(name) or len(order)

    found = interleaved({"a": contender("a"), "b": contender("b")}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert found == {"a": [1, 4, 5], "b": [2, 3, 6]}


@given(RATES)
def test_a_spread_lies_between_its_least_and_greatest_round(values):
    found = spread(values)
    assert found["min"] <= found["median"] <= found["max"]
    assert len(found["rounds"]) == len(values)


def test_a_spread_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one round"):
        spread([])


def test_a_ratio_is_of_neighbours_in_time_and_not_of_medians():
    # The machine was half as fast in the second round: both sides were.
    assert ratio([80, 40, 80], [100, 50, 100]) == {
        "median": 0.8,
        "min": 0.8,
        "max": 0.8,
        "rounds": [0.8, 0.8, 0.8],
    }


def test_rounds_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match="longer"):
        ratio([1.0], [1.0, 2.0])
