"""Declarations are sound, and nothing makes a metric or names a stage beside them."""

import ast
import re
from pathlib import Path

import pytest

from services.runtime.foreign_signals import FOREIGN_METRICS
from services.runtime.signal_kinds import EVERY, MetricKind, Owner
from services.runtime.signals import CLASSIFY_BUCKETS_S, FIELD_BUCKETS_S, METRICS
from services.runtime.span_signals import RPC, SPANS, stages_of

SERVICES = Path(__file__).resolve().parents[4] / "services"
UNITS = {"seconds": "seconds", "ratio": "ratio", "rows": "rows"}
MOST_SERIES = 3000
"""Of one metric in one service; Prometheus counts each bucket as one."""


def modules():
    return [
        (path, ast.parse(path.read_text())) for path in SERVICES.rglob("*.py") if "backends" not in path.parts
    ]


def test_names_are_unique_and_as_prometheus_would_have_them():
    names = [metric.name for metric in (*METRICS, *FOREIGN_METRICS)]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert re.fullmatch(r"hemaserve_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind is MetricKind.COUNTER)
        unit = UNITS.get(metric.unit)
        assert unit is None or metric.name.removesuffix("_total").endswith(unit)
        assert metric.meaning.endswith(".")
        assert "\n" not in metric.meaning


def test_buckets_are_those_of_histograms_and_ascend():
    for metric in METRICS:
        assert bool(metric.buckets) == (metric.kind is MetricKind.HISTOGRAM)
        assert list(metric.buckets) == sorted(set(metric.buckets))


def test_the_objectives_are_bounds_of_buckets():
    assert {0.5, 1.0, 2.5} <= set(FIELD_BUCKETS_S)
    assert 0.2 in CLASSIFY_BUCKETS_S


def test_every_label_is_bounded():
    for metric in METRICS:
        for label in metric.labels:
            assert bool(label.values) != bool(label.most), (
                f"{label.name} of {metric.name}: values, or how many"
            )
            assert label.cardinality <= 65
            assert len(set(label.values)) == len(label.values)


def test_only_instruments_make_metrics():
    makers = {"Counter", "Gauge", "Histogram", "Summary", "Info", "Enum"}
    for path, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prometheus_client"):
                assert not makers & {each.name for each in node.names}, path
            if isinstance(node, ast.Import) and any(each.name == "prometheus_client" for each in node.names):
                assert path.name == "instruments.py"


def test_every_declared_metric_is_made_somewhere():
    used = {
        node.attr
        for _, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "signals"
    }
    import services.runtime.signals as declared

    names = {name for name, value in vars(declared).items() if any(value is metric for metric in METRICS)}
    assert len(names) == len(METRICS)
    assert names <= used


def test_stages_that_the_code_names_are_declared_and_the_other_way_round():
    named = {owner: set() for owner in EVERY}
    shared = set()
    for path, tree in modules():
        part = path.relative_to(SERVICES).parts[0]
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            if name in {"stage", "Stages", "go_on"}:
                (named[Owner(part)] if part in named else shared).add(node.args[0].value)
    shared |= {"queue", "turn"}  # named by capacities
    for owner in EVERY:
        assert named[owner] <= set(stages_of(owner))
        assert set(stages_of(owner)) <= named[owner] | shared


def test_spans_lie_in_declared_spans_of_the_same_service():
    by_name = {span.name: span for span in SPANS}
    assert len(by_name) == len(SPANS)
    for span in SPANS:
        for parent in span.parents:
            assert parent == RPC or set(by_name[parent].owners) & set(span.owners), span.name


@pytest.mark.parametrize("owner", EVERY)
def test_no_metric_can_have_more_series_than_prometheus_likes(owner):
    for metric in METRICS:
        if owner not in metric.owners or metric.name == "hemaserve_model_info":  # its labels go together
            continue
        series = len(metric.buckets) + 3 if metric.buckets else 1
        for label in metric.labels:
            series *= label.cardinality
        assert series <= MOST_SERIES * (2 if metric.name == "hemaserve_admission_wait_seconds" else 1), (
            metric.name
        )
