"""The page and the settings are those of the recorded results."""

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from benchmarks.autoscaling.choosing import BAR, CANDIDATES, chosen, try_one
from benchmarks.autoscaling.traces import TRACES
from benchmarks.capacity import page
from benchmarks.capacity.profile import load_measured, profile_of

ROOT = Path(__file__).parents[4]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def read(name: str):
    return json.loads((ROOT / "docs" / "scaling" / f"{name}.json").read_text())


def test_page_and_settings_are_written_from_the_results():
    assert (ROOT / "docs" / "scaling.md").read_text() == page.page()
    assert yaml.safe_load(page.SETTINGS.read_text()) == page.settings()


def test_predictions_are_of_what_was_measured():
    digest = hashlib.sha256(json.dumps(load_measured(), sort_keys=True).encode()).hexdigest()
    assert read("predicted")["measured_sha256"] == digest


def test_the_chosen_settings_keep_the_objective_within_the_bar():
    best = chosen(read("autoscaling")["rows"])
    assert all(each["kept"] >= 0.99 and each["ratio"] <= BAR for each in best["traces"].values())


def test_a_recorded_result_comes_out_again():
    recorded = chosen(read("autoscaling")["rows"])
    (candidate,) = (each for each in CANDIDATES if each.name == recorded["name"])
    again = try_one(profile_of(load_measured()), TRACES["lost"], candidate).figures()
    assert again == {name: recorded["traces"]["lost"][name] for name in again}


def test_every_query_gave_data():
    assert all(row["value"] is not None for row in read("queries")["queries"])
