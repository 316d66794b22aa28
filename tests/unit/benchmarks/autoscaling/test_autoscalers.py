"""Kubernetes' and KEDA's algorithms against the examples of their documentation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.autoscaling import hpa, keda
from benchmarks.autoscaling.hpa import Behavior, Controller, PodMetric, Policy, PolicyType, Rules, Select


@pytest.mark.parametrize(("value", "replicas"), [(200, 8), (50, 2), (105, 4), (95, 4), (111, 5)])
def test_replicas_follow_the_ratio_outside_the_tolerance(value, replicas):
    assert hpa.for_pods([PodMetric(value)] * 4, 100, current=4) == replicas


def test_missing_metrics_dampen_what_is_done():
    assert hpa.for_pods([PodMetric(300), PodMetric(None)], 100, current=2) == 3, "none used when going up"
    assert hpa.for_pods([PodMetric(50)] * 2 + [PodMetric(None)], 100, current=3) == 2, "all used going down"
    assert hpa.for_pods([PodMetric(None)], 100, current=1) is None


def test_pods_that_are_not_ready_use_nothing_when_going_up():
    pods = [PodMetric(150)] * 2 + [PodMetric(None, ready=False)]
    assert hpa.for_pods(pods, 100, current=3) == 3


def test_down_by_at_most_ten_percent_is_rounded_up():
    # The documentation's example: 80 replicas go to 72, then to 64, until at 40 the four pods are more.
    down = Rules(0, (Policy(PolicyType.PODS, 4, 60), Policy(PolicyType.PERCENT, 10, 60)))
    controller, seen = Controller(1, 100, Behavior(down=down)), [80]
    for minute in range(10):
        seen.append(controller.decide(60.0 * (minute + 1), seen[-1], 10))
    assert seen[:3] == [80, 72, 64]
    assert seen[-1] < seen[-2], "it goes on"
    assert seen[seen.index(next(count for count in seen if count <= 40)) + 1] == (
        next(count for count in seen if count <= 40) - 4
    )


def test_the_highest_recommendation_of_the_window_counts():
    # KEP 853's example: 10, 9, 8, ... within ten minutes is 10, and 9 when the 10 is out of the window.
    controller = Controller(1, 100, Behavior(down=Rules(600, (Policy(PolicyType.PODS, 5, 600),))))
    current = 10
    for minute, wanted in enumerate([10, 9, 8, 9, 9, 8, 9, 8, 9, 8]):
        current = controller.decide(60.0 * minute, current, wanted)
        assert current == 10
    assert controller.decide(600.0, current, 7) == 9


def test_up_by_default_is_double_or_four_pods_in_fifteen_seconds():
    controller = Controller(1, 100)
    assert controller.decide(0.0, 1, 50) == 5
    assert controller.decide(15.0, 5, 50) == 10


def test_disabled_and_least_changes():
    disabled = Controller(1, 9, Behavior(down=Rules(0, (Policy(PolicyType.PODS, 4, 60),), Select.DISABLED)))
    assert disabled.decide(0.0, 5, 1) == 5
    up = (Policy(PolicyType.PERCENT, 100, 60), Policy(PolicyType.PODS, 1, 60))
    assert Controller(1, 9, Behavior(up=Rules(0, up, Select.MIN))).decide(0.0, 4, 9) == 5


def test_of_several_metrics_the_largest_counts_and_an_unknown_one_keeps_from_going_down():
    assert hpa.largest([3, 7, 5], current=4) == 7
    assert hpa.largest([3, None], current=4) == 4
    assert hpa.largest([6, None], current=4) == 6


@given(st.integers(1, 30), st.integers(0, 60), st.integers(1, 5), st.integers(6, 40))
def test_replicas_stay_within_their_bounds(current, wanted, least, most):
    current = min(max(current, least), most)
    assert least <= Controller(least, most).decide(0.0, current, wanted) <= most


TRIGGER = keda.Trigger("q", threshold=10, activation=50)


def test_below_activation_it_goes_to_zero_whatever_the_threshold_says():
    # The documentation's example: threshold 10, activation 50, 40 messages: inactive, although an HPA would take 4.
    scaler = keda.Scaler(keda.ScaledObject((TRIGGER,), cooldown_period_s=300))
    assert scaler.sync(0.0, 1, {"q": 40.0}) == 4
    assert scaler.poll(299.0, 4, {"q": 40.0}) == 4
    assert scaler.poll(300.0, 4, {"q": 40.0}) == 0
    assert scaler.poll(330.0, 0, {"q": 51.0}) == 1


def test_a_failing_query_leaves_replicas_alone_and_then_falls_back():
    spec = keda.ScaledObject((keda.Trigger("q", 10),), min_replica_count=1, fallback=keda.Fallback(3, 6))
    scaler, error = keda.Scaler(spec), {"q": keda.ReadError()}
    assert [scaler.sync(15.0 * count, 2, error) for count in range(4)] == [2, 2, 2, 6]


def test_an_empty_answer_is_nothing_or_an_error():
    assert keda.Scaler(keda.ScaledObject((keda.Trigger("q", 1),))).sync(0.0, 1, {"q": None}) == 1
    strict = keda.Trigger("q", 1, ignores_null=False)
    assert keda.Scaler(keda.ScaledObject((strict,))).sync(0.0, 3, {"q": None}) == 3


def test_a_fallback_may_keep_what_is_there_where_that_is_more():
    fallback = keda.Fallback(0, 3, keda.Failing.CURRENT_IF_HIGHER)
    spec = keda.ScaledObject((keda.Trigger("q", 10),), min_replica_count=1, fallback=fallback)
    error = {"q": keda.ReadError()}
    assert keda.Scaler(spec).sync(0.0, 5, error) == 5
    assert keda.Scaler(spec).sync(0.0, 2, error) == 3


def test_of_processors_and_triggers_those_count_that_ask_for_more():
    spec = keda.ScaledObject((keda.Trigger("q", 10),), cores=0.8, min_replica_count=1)
    busy, idle = [PodMetric(1.2)] * 2, [PodMetric(0.1)] * 2
    assert keda.Scaler(spec).sync(0.0, 2, {"q": 0.0}, busy) == 3
    assert keda.Scaler(spec).sync(0.0, 2, {"q": 40.0}, idle) == 4
