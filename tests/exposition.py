"""What a metrics endpoint shows, to hold it to what is declared."""

from __future__ import annotations

import urllib.request
from collections import defaultdict
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from services.runtime.foreign_signals import FOREIGN_METRICS
from services.runtime.signal_kinds import OTHER, Metric, MetricKind, Needs, Owner
from services.runtime.signals import METRICS

OPENMETRICS = "application/openmetrics-text;version=1.0.0"


@dataclass
class Family:
    """One metric as it is shown."""

    kind: str
    label_sets: list[dict[str, str]] = field(default_factory=list)
    buckets: set[float] = field(default_factory=set)


def page(address: str, *, accept: str = "text/plain") -> str:
    request = urllib.request.Request(f"http://{address}/metrics", headers={"Accept": accept})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read().decode()


def families(text: str, *, total: str = "_total") -> dict[str, Family]:
    """By name as Prometheus knows it.

    Args:
        total: what counters' names end in: ours as usual, Triton's in nothing.
    """
    found: dict[str, Family] = defaultdict(lambda: Family(""))
    for shown in text_string_to_metric_families(text):
        family = found[f"{shown.name}{total}" if shown.type == "counter" else shown.name]
        family.kind = shown.type
        for sample in shown.samples:
            labels = dict(sample.labels)
            if "le" in labels:
                family.buckets.add(float(labels.pop("le")))
            family.label_sets.append(labels)
    return dict(found)


def check(text: str, owner: Owner, *needs: Needs) -> None:
    """That a service shows exactly what is declared, with the declared labels and no other values of them."""
    shown = families(text)
    declared = {
        metric.name: metric
        for metric in METRICS
        if owner in metric.owners and metric.needs in (Needs.NOTHING, *needs)
    }
    foreign = {metric.name for metric in FOREIGN_METRICS if owner in metric.owners}
    ours = shown.keys() - foreign
    assert ours == declared.keys(), (owner, ours ^ declared.keys())
    for name, metric in declared.items():
        _check_family(metric, shown[name])


def _check_family(metric: Metric, family: Family) -> None:
    assert family.kind == metric.kind
    if metric.kind is MetricKind.HISTOGRAM and family.label_sets:
        assert family.buckets == {*metric.buckets, float("inf")}, metric.name
    for labels in family.label_sets:
        assert labels.keys() == {label.name for label in metric.labels}, metric.name
    for label in metric.labels:
        values = {labels[label.name] for labels in family.label_sets}
        assert len(values) <= label.cardinality, (metric.name, label.name)
        assert not label.values or values <= {*label.values, OTHER}, (metric.name, label.name, values)
