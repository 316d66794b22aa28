"""Makes metrics of what is declared in `services.runtime.signals`, with no more series than the labels allow."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Final, Generic, TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry

from services.runtime.signal_kinds import OTHER, Label, Metric, MetricKind
from services.runtime.tracing import exemplar

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # they double the number of series

_SHOWN_AT_ONCE: Final = 128
"""So many series of a metric are there from the start, so that nobody misses the first one of what is rare."""

_Series = TypeVar("_Series", prometheus_client.Counter, prometheus_client.Gauge, prometheus_client.Histogram)


class _Family(Generic[_Series]):
    """The series of one metric, by the values of its labels. Unknown values, and too many ones, count as `OTHER`.

    Args:
        metric: as it is declared.
        made: as prometheus_client knows it.
        only: by a label's name, those of its declared values that there can be in this service.
    """

    def __init__(self, metric: Metric, made: _Series, only: Mapping[str, Collection[str]]) -> None:
        self._made: _Series = made
        self._labels = metric.labels
        self._series: dict[tuple[str, ...], _Series] = {}
        values = [only.get(label.name, label.values) for label in metric.labels]
        self._taken: tuple[set[str], ...] = tuple(map(set, values))
        if all(values) and math.prod(map(len, values)) <= _SHOWN_AT_ONCE:
            for each in itertools.product(*values):
                self.series(*each)

    def series(self, *values: str) -> _Series:
        """The series of these values, in the order of the metric's labels."""
        if not self._labels:
            return self._made
        found = self._series.get(values)
        if found is None:
            said = zip(self._labels, self._taken, values, strict=True)
            bounded = tuple(_bounded(label, taken, value) for label, taken, value in said)
            found = self._series[bounded] = self._made.labels(*bounded)
        return found


class Counter(_Family[prometheus_client.Counter]):
    """A counter."""

    def __init__(self, metric: Metric, registry: CollectorRegistry, **only: Collection[str]) -> None:
        _check(metric, MetricKind.COUNTER)
        made = prometheus_client.Counter(
            metric.name, metric.meaning, labelnames=_names(metric), registry=registry
        )
        super().__init__(metric, made, only)

    def inc(self, *values: str, by: float = 1) -> None:
        """Count, under these values of its labels."""
        self.series(*values).inc(by)


class Gauge(_Family[prometheus_client.Gauge]):
    """A gauge."""

    def __init__(self, metric: Metric, registry: CollectorRegistry, **only: Collection[str]) -> None:
        _check(metric, MetricKind.GAUGE)
        made = prometheus_client.Gauge(
            metric.name, metric.meaning, labelnames=_names(metric), registry=registry
        )
        super().__init__(metric, made, only)

    def keep(self, each: Iterable[tuple[str, ...]]) -> None:
        """Forget all series but those of these values."""
        kept = set(each)
        for values in self._series.keys() - kept:
            self._made.remove(*values)
            del self._series[values]
        for position, (label, taken) in enumerate(zip(self._labels, self._taken, strict=True)):
            if not label.values:
                taken.intersection_update(values[position] for values in kept)


class Histogram(_Family[prometheus_client.Histogram]):
    """A histogram; what is seen in a trace that is recorded is told with its id."""

    def __init__(self, metric: Metric, registry: CollectorRegistry, **only: Collection[str]) -> None:
        _check(metric, MetricKind.HISTOGRAM)
        made = prometheus_client.Histogram(
            metric.name,
            metric.meaning,
            labelnames=_names(metric),
            buckets=metric.buckets,
            registry=registry,
        )
        super().__init__(metric, made, only)

    def observe(self, value: float, *values: str) -> None:
        """See a value, under these values of its labels."""
        self.series(*values).observe(value, exemplar())


def _bounded(label: Label, taken: set[str], value: str) -> str:
    if not label.values and len(taken) < label.most:
        taken.add(value)
    return value if value in taken else OTHER


def _names(metric: Metric) -> tuple[str, ...]:
    return tuple(label.name for label in metric.labels)


def _check(metric: Metric, kind: MetricKind) -> None:
    if metric.kind is not kind:
        raise ValueError(f"{metric.name} is declared as a {metric.kind}, not as a {kind}")
