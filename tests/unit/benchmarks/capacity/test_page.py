"""The page and the manifests are those of the recorded results."""

import hashlib
import json
from pathlib import Path

import pytest

from benchmarks.autoscaling.choosing import BAR, CANDIDATES, KEDA, SEEDS, Candidate, chosen, try_one, worst
from benchmarks.autoscaling.manifests import written
from benchmarks.autoscaling.queries import QUERIES
from benchmarks.autoscaling.traces import TRACES
from benchmarks.capacity import page
from benchmarks.capacity.profile import load_measured, profile_of

ROOT = Path(__file__).parents[4]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def read(name: str):
    return json.loads((ROOT / "docs" / "scaling" / f"{name}.json").read_text())


def test_page_and_manifests_are_written_from_the_results():
    assert (ROOT / "docs" / "scaling.md").read_text() == page.page()
    for path, text in written(profile_of(load_measured()), read("autoscaling")["rows"]).items():
        assert path.read_text() == text


def test_predictions_are_of_what_was_measured():
    digest = hashlib.sha256(json.dumps(load_measured(), sort_keys=True).encode()).hexdigest()
    assert read("predicted")["measured_sha256"] == digest


@pytest.mark.parametrize("kinds", [KEDA, ("cpu",)])
def test_the_chosen_settings_keep_the_objective_within_the_bar(kinds):
    best = chosen(read("autoscaling")["rows"], kinds)
    assert all(each["kept"] >= 0.99 and each["ratio"] <= BAR for each in best["traces"].values())
    assert all(kept >= 0.99 for kept in read("autoscaling")["checked"][best["name"]].values())


def test_all_that_is_tried_is_in_the_table():
    assert [Candidate.of(row) for row in read("autoscaling")["rows"]] == list(CANDIDATES)


def test_a_recorded_result_comes_out_again():
    recorded, profile = chosen(read("autoscaling")["rows"], KEDA), profile_of(load_measured())
    again = worst([try_one(profile, TRACES["lost"], Candidate.of(recorded), seed=seed) for seed in SEEDS])
    assert again == {name: recorded["traces"]["lost"][name] for name in again}


def test_every_query_was_asked_as_it_is_and_gave_data():
    asked = read("queries")["queries"]
    assert {row["name"]: row["query"] for row in asked} == QUERIES
    assert all(row["value"] is not None for row in asked)
