"""Quotas: over any time never more than a minute's worth and what has flowed in since."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemaserve.access import Quota
from services.gateway.access.quotas import Allowance, Allowances, Cost, TokenBucket

rates = st.floats(1, 10_000)
steps = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 50)), max_size=60)


@given(rates, steps)
def test_without_waiting_a_bucket_gives_no_more_than_its_rate_and_a_minutes_worth(rate, asked):
    now, begun = 1000.0, 1000.0
    bucket, given_out = TokenBucket(rate, now), 0.0
    for pause, amount in asked:
        now += pause
        if bucket.wait_s(amount, now) == 0:
            bucket.take(amount, now)
            given_out += amount
        assert given_out <= rate * (1 + (now - begun) / 60) + 1e-6 * rate
        assert 0 <= bucket.level(now) <= rate


@given(rates, steps)
def test_who_waits_as_told_gets_no_more_either(rate, asked):
    now, begun = 0.0, 0.0
    bucket, given_out, latest = TokenBucket(rate, now), 0.0, 0.0
    for pause, amount in asked:
        now += pause
        wait_s = bucket.wait_s(amount, now)
        if math.isinf(wait_s):
            assert amount > rate
            continue
        bucket.take(amount, now)
        given_out += amount
        latest = max(latest, now + wait_s)
        assert given_out <= rate * (1 + (latest - begun) / 60) + 1e-6 * rate


@given(rates, st.floats(0.1, 1), st.floats(0.1, 1))
def test_the_wait_that_is_told_is_enough_and_not_more(rate, first, second):
    bucket = TokenBucket(rate, 0.0)
    bucket.take(first * rate, 0.0)
    wait_s = bucket.wait_s(second * rate, 0.0)
    assert bucket.wait_s(second * rate, wait_s + 1e-6) == 0
    if wait_s > 0.01:
        assert bucket.wait_s(second * rate, wait_s - 0.01) > 0


def test_a_clock_that_goes_back_gives_nothing():
    bucket = TokenBucket(60, 100.0)
    bucket.take(60, 100.0)
    assert bucket.level(0.0) == 0
    bucket.take(0, 0.0)
    assert bucket.level(100.0) == 0


def test_what_is_refused_in_one_unit_takes_nothing_of_another():
    allowance = Allowance(Quota(requests=10, bytes=100), 0.0)
    allowance.reserve(Cost(bytes=90), 0.0)
    assert allowance.reserve(Cost(requests=1, bytes=20), 0.0) > 0
    assert dict(allowance.metadata(0.0))["ratelimit"] == '"requests";r=10;t=0, "bytes";r=10;t=54'
    assert dict(allowance.metadata(0.0))["ratelimit-policy"] == '"requests";q=10;w=60, "bytes";q=100;w=60'


def test_a_wait_within_what_is_allowed_is_taken_ahead_of_time():
    allowance = Allowance(Quota(fields=60), 0.0)
    assert allowance.reserve(Cost(fields=60), 0.0) == 0
    assert allowance.reserve(Cost(fields=2), 0.0, within_s=2) == pytest.approx(2)
    assert allowance.reserve(Cost(fields=1), 0.0, within_s=2) == pytest.approx(3)  # not taken
    assert allowance.reserve(Cost(fields=1), 1.0, within_s=2) == pytest.approx(2)
    assert math.isinf(allowance.reserve(Cost(fields=61), 1000.0, within_s=1e9))


def test_without_a_quota_nothing_waits_and_nothing_is_told():
    allowance = Allowance(Quota(), 0.0)
    assert allowance.reserve(Cost(1e9, 1e9, 1e9), 0.0) == 0
    assert allowance.metadata(0.0) == ()


def test_a_replica_grants_its_share():
    allowance = Allowances(share=0.5).of("lab", Quota(fields=100), 0.0)
    assert allowance.reserve(Cost(fields=50), 0.0) == 0
    assert allowance.reserve(Cost(fields=1), 0.0) > 0


def test_the_clients_that_are_remembered_are_bounded_and_the_active_ones_stay():
    allowances = Allowances(most=10)
    lab = allowances.of("lab", Quota(requests=5), 0.0)
    for number in range(1000):
        allowances.of(f"token:{number}", Quota(requests=5), 0.0)
        assert allowances.of("lab", Quota(requests=5), 0.0) is lab
    assert len(allowances) == 10


def test_a_changed_quota_holds_from_the_next_call():
    allowances = Allowances()
    allowances.of("lab", Quota(requests=1), 0.0).reserve(Cost(requests=1), 0.0)
    assert allowances.of("lab", Quota(requests=1), 0.0).reserve(Cost(requests=1), 0.0) > 0
    assert allowances.of("lab", Quota(requests=2), 0.0).reserve(Cost(requests=2), 0.0) == 0
