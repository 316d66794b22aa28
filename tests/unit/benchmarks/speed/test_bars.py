"""What is concluded from what was measured."""

import pytest

from benchmarks.rounds import spread
from benchmarks.speed.bars import claims, in_words, percentiles


def measured(ratio: float, alone: float, p99: float):
    return {
        "fields": {
            "ratio": spread([ratio]),
            "alone": {"ratio": spread([alone])},
            "tail": {"p50": 100.0, "p99": p99},
        },
        "crops": {"ratio": spread([0.96, 0.9, 0.97])},
        "fp32": {"vit": {"ratio": spread([1.59])}},
    }


@pytest.mark.parametrize(
    ("found", "holds"),
    [
        (measured(0.85, 1.15, 300.0), [True, True, True, True, False]),
        (measured(0.849, 1.16, 301.0), [False, False, False, True, False]),
    ],
)
def test_each_bar_holds_from_its_value_on(found, holds):
    assert [one["holds"] for one in claims(found)] == holds


def test_what_was_not_measured_is_not_claimed():
    assert claims({}) == []


def test_a_spread_is_told_with_its_least_and_greatest():
    assert in_words(spread([0.8, 0.9, 0.7])) == "0.8 (0.7 to 0.9)"


def test_percentiles_of_hardly_anything_are_none():
    assert percentiles([1.0]) == {}
    assert percentiles([float(each) for each in range(101)]) == {"p50": 50.0, "p99": 99.0}
