"""docs/reliability.md says what the measurements beside it say."""

import json

import pytest

FACTS = {
    "date": "2026-01-31",
    "cpu": "a processor",
    "cores": 2,
    "memory_gb": 8.0,
    "versions": {"hemaserve": "0.1.0"},
}
FAULTS = FACTS | {
    "command": "python -m benchmarks.faults --minutes 30",
    "claims": [{"claim": "Lost under faults", "bar": "0", "measured": "0 of 900", "holds": True}],
    "kinds": {
        "kill": {"count": 7, "answered_s": {"p50": 1.5, "p95": 2.25, "max": 3.0}, "whole_s": {}},
    },
    "single_calls": {"OK": 12, "UNAVAILABLE": 3},
    "smears": 5,
    "fields": 100,
    "cells": 800,
    "degraded_fields": 4,
    "load_fields_per_second": 2,
    "fields_per_second": {"bin_s": 10, "values": [1.0, 2.0, 1.5]},
    "struck": [{"at_s": 4.0, "kind": "kill", "target": "gateway-1"}],
}


@pytest.fixture(scope="module")
def reliability(script):
    return script("reliability").PAGE


@pytest.fixture
def measured(reliability, tmp_path):
    """A page of one measurement, and where it came from."""
    (tmp_path / "faults.json").write_text(json.dumps(FAULTS))
    page = tmp_path / "page.md"
    reliability.write(page, tmp_path)
    return page, tmp_path


def test_the_page_and_its_charts_are_current(reliability):
    reliability.check()


def test_a_claim_stands_on_the_page_with_its_bar_and_what_was_measured(measured):
    page, _ = measured
    assert "| Lost under faults | 0 | 0 of 900 | yes |" in page.read_text()
    assert "| kill | 7 | 1.5 | 2.2 | 3.0 |  |  |  |" in page.read_text()


def test_what_does_not_hold_is_told(reliability):
    broken = FAULTS | {"claims": [FAULTS["claims"][0] | {"measured": "1 of 900", "holds": False}]}
    page, _ = reliability.rendered({"faults": broken})
    assert "| Lost under faults | 0 | 1 of 900 | **no** |" in page


def test_what_was_not_measured_is_told(measured):
    page, _ = measured
    assert "| Soak |  | not measured |  |" in page.read_text()


@pytest.mark.parametrize("change", [{"fields": 101}, {"struck": []}])
def test_other_figures_make_page_or_chart_stale(reliability, measured, change):
    page, folder = measured
    reliability.check(page, folder)
    (folder / "faults.json").write_text(json.dumps(FAULTS | change))
    with pytest.raises(SystemExit, match="not current"):
        reliability.check(page, folder)


def test_a_measurement_that_nobody_foresaw_is_shown_too(reliability):
    page, _ = reliability.rendered({"another": FACTS | {"command": "x", "claims": FAULTS["claims"]}})
    assert "| Lost under faults |" in page
    assert "| `x` |" in page


def test_a_measurement_without_claims_is_refused(reliability, tmp_path):
    (tmp_path / "overload.json").write_text(json.dumps(FACTS | {"command": "x"}))
    with pytest.raises(SystemExit, match=r"overload\.json lacks claims"):
        reliability.load(tmp_path)
