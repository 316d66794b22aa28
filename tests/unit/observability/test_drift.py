"""A baseline's bins, and the distance from it."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from observability.baseline import LEAST_SHARE, LEAST_VALUE, Feature, load, range_bins, share_bins, value_bins
from observability.drift import distance, moved
from observability.files import read
from observability.specification import InvalidSpecification

counts = st.lists(st.floats(0, 1e6), min_size=2, max_size=16).filter(lambda values: sum(values) > 1)
shares = st.lists(st.floats(0.01, 1), min_size=2, max_size=10).map(lambda v: [x / sum(v) for x in v])


def _histogram(values):
    bounds = [f"{place / 10}" for place in range(1, len(values))] + ["+Inf"]
    return Feature(counts=dict(zip(bounds, values, strict=True)))


@given(counts)
def test_ranges_hold_all_values_and_follow_each_other(values):
    feature = _histogram(values)
    bins = range_bins(feature)
    assert math.isclose(sum(one.share for one in bins), 1)
    assert [one.above for one in bins] == [None, *(one.upto for one in bins[:-1])]
    assert bins[-1].upto == "+Inf"
    assert all(one.share >= LEAST_SHARE - 1e-9 for one in bins)


@given(counts)
def test_rare_values_are_one_bin_with_those_that_nobody_saw(values):
    feature = Feature(counts={f"value-{place}": value for place, value in enumerate(values)})
    *bins, other = value_bins(feature)
    assert math.isclose(sum(one.share for one in bins) + other.share, 1)
    assert all(one.share >= LEAST_VALUE - 1e-9 for one in bins)
    assert not other.values


def test_a_share_has_two_bins():
    bins = share_bins(Feature(counts={"unidentified": 20, "identified": 180}))
    assert [(one.name, round(one.share, 6)) for one in bins] == [("unidentified", 0.1), ("rest", 0.9)]


@pytest.mark.parametrize("measure", ["stability_index", "total_variation"])
@given(usual=shares)
def test_the_usual_is_no_distance_from_itself(measure, usual):
    assert distance(measure, usual, usual) == 0


@pytest.mark.parametrize("measure", ["stability_index", "total_variation"])
@given(usual=shares, far=st.floats(0.01, 0.4))
def test_moved_shares_are_as_far_as_asked_for(measure, usual, far):
    now = moved(measure, usual, far)
    assert math.isclose(sum(now), 1)
    assert math.isclose(distance(measure, now, usual), far, rel_tol=1e-3)
    assert math.isclose(distance(measure, usual, now), far, rel_tol=1e-3)


def test_the_index_is_that_of_the_textbook():
    # (0.5-0.6) ln(0.5/0.6) + (0.5-0.4) ln(0.5/0.4)
    assert math.isclose(distance("stability_index", [0.5, 0.5], [0.6, 0.4]), 0.0405465, rel_tol=1e-5)
    assert math.isclose(distance("total_variation", [0.5, 0.5], [0.6, 0.4]), 0.1)


@pytest.mark.parametrize("watched", read().drift.features, ids=lambda one: one.feature)
def test_an_alert_needs_more_values_than_chance_explains(watched):
    told = read()
    bins = watched.bins(told.baseline)
    recorded = told.baseline.features[watched.feature].total
    spread = 1 / watched.least_events + 1 / recorded
    limit = min(watched.limits.values())
    if watched.measure == "total_variation":
        usual = bins[0].share
        assert limit > 3 * math.sqrt(usual * (1 - usual) * spread)
    else:
        assert limit > chi2.ppf(0.9999, len(bins) - 1) * spread


def test_without_drift_the_index_is_spread_as_its_source_says():
    rng = np.random.default_rng(1)
    usual = np.array([0.1, 0.2, 0.3, 0.4])
    n = 1000
    found = [distance("stability_index", rng.multinomial(n, usual) / n, usual) for _ in range(2000)]
    assert np.mean(found) == pytest.approx(3 / n, rel=0.1)
    assert np.quantile(found, 0.99) == pytest.approx(chi2.ppf(0.99, 3) / n, rel=0.15)


def test_what_is_no_baseline_is_refused(tmp_path):
    path = tmp_path / "baseline.json"
    path.write_text(json.dumps({"command": "x"}))
    with pytest.raises(InvalidSpecification, match=r"baseline\.json: is no baseline"):
        load(path)
