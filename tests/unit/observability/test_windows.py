"""Windows in Prometheus' words, and how fast budgets burn."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observability.windows import BURNS, PERIOD, Scale, duration

_LENGTHS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}


@pytest.mark.parametrize(
    ("seconds", "words"), [(300, "5m"), (3600, "1h"), (5400, "1h30m"), (3 * 86_400, "3d"), (2.5, "2s500ms")]
)
def test_a_duration_is_written_as_prometheus_reads_it(seconds, words):
    assert duration(seconds) == words


@given(st.integers(1, 40 * 86_400_000))
def test_a_duration_says_what_it_was_made_of(milliseconds):
    parts = re.findall(r"(\d+)(ms|[dhms])", duration(milliseconds / 1000))
    assert sum(int(count) * _LENGTHS[unit] for count, unit in parts) == milliseconds


def test_less_than_a_millisecond_is_refused():
    with pytest.raises(ValueError, match="a millisecond or more"):
        duration(0.0001)


def test_a_scale_shortens_windows():
    assert Scale(120).window(3600) == "30s"
    assert Scale().window(3600) == "1h"


def test_alerts_tell_after_the_shares_of_the_budget_that_the_workbook_names():
    spent = [round(burn.factor * burn.long_s / PERIOD, 3) for burn in BURNS]
    assert spent == [0.02, 0.05, 0.1, 0.1]


def test_short_windows_are_a_twelfth_of_the_long_ones():
    assert all(burn.short_s * 12 == burn.long_s for burn in BURNS)
