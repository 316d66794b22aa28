"""Metrics that are made of declarations keep to them, whatever values come."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from services.runtime import tracing
from services.runtime.instruments import Counter, Gauge, Histogram
from services.runtime.signal_kinds import EVERY, OTHER, Label, Metric, MetricKind

COLOUR = Label("colour", "which", ("red", "blue"))
NAME = Label("name", "whose", most=3)


def declared(kind, *labels, buckets=()):
    return Metric(
        "some_total" if kind is MetricKind.COUNTER else "some", kind, "", "Some.", EVERY, labels, buckets
    )


def shown(registry):
    return generate_latest(registry).decode()


def test_all_values_of_a_closed_label_are_there_before_they_count():
    registry = CollectorRegistry()
    Counter(declared(MetricKind.COUNTER, COLOUR), registry)
    assert 'some_total{colour="red"} 0.0' in shown(registry)
    assert 'some_total{colour="blue"} 0.0' in shown(registry)
    assert "_created" not in shown(registry)


def test_only_those_that_there_can_be_in_a_service():
    registry = CollectorRegistry()
    counter = Counter(declared(MetricKind.COUNTER, COLOUR), registry, colour=("red",))
    counter.inc("blue")
    assert registry.get_sample_value("some_total", {"colour": "blue"}) is None
    assert registry.get_sample_value("some_total", {"colour": OTHER}) == 1


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), max_size=60))
@settings(max_examples=50)
def test_hostile_values_make_no_more_series_than_declared_and_lose_no_count(pairs):
    registry = CollectorRegistry()
    counter = Counter(declared(MetricKind.COUNTER, COLOUR, NAME), registry)
    for pair in pairs:
        counter.inc(*pair)
    (family,) = registry.collect()
    assert len(family.samples) <= COLOUR.cardinality * NAME.cardinality
    assert {sample.labels["colour"] for sample in family.samples} <= {"red", "blue", OTHER}
    assert sum(sample.value for sample in family.samples) == len(pairs)


def test_a_gauge_forgets_what_is_no_more_and_has_room_again():
    registry = CollectorRegistry()
    gauge = Gauge(declared(MetricKind.GAUGE, NAME), registry)
    for generation in range(5):
        names = [(f"{generation}-{number}",) for number in range(3)]
        gauge.keep(names)
        for name in names:
            gauge.series(*name).set(1)
        (family,) = registry.collect()
        assert {sample.labels["name"] for sample in family.samples} == {name for (name,) in names}


def test_a_metric_is_of_the_kind_that_is_declared():
    with pytest.raises(ValueError, match="some is declared as a gauge, not as a histogram"):
        Histogram(declared(MetricKind.GAUGE), CollectorRegistry())


class Recorded:
    context = tracing.TraceContext("ab" * 16, "cd" * 8, sampled=True)


async def test_a_value_seen_in_a_recorded_trace_is_told_with_its_id():
    registry = CollectorRegistry()
    histogram = Histogram(declared(MetricKind.HISTOGRAM, buckets=(1.0, 2.0)), registry)
    histogram.observe(0.5)
    assert "trace_id" not in generate_openmetrics(registry).decode()
    tracing.enter_call(Recorded.context, Recorded())
    histogram.observe(1.5)
    exemplar = f'{{span_id="{"cd" * 8}",trace_id="{"ab" * 16}"}} 1.5'
    assert f'some_bucket{{le="2.0"}} 2.0 # {exemplar}' in generate_openmetrics(registry).decode()
    assert "trace_id" not in shown(registry), "the older format has no place for it"
