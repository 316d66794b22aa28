"""docs/accuracy.md says what the JSON files beside it say."""

import json
import sys
from pathlib import Path

import pytest

from hemaserve.cells import CellType, Kind
from hemaserve.evaluation.asking import FailedImage
from hemaserve.evaluation.average_precision import ScoredBox
from hemaserve.evaluation.cell_report import cell_report
from hemaserve.evaluation.detections import FieldDetections, detection_report
from hemaserve.evaluation.fields import FieldTally, fields_report
from hemaserve.evaluation.guessing import Guess
from hemaserve.evaluation.outcome import Evaluation
from hemaserve.geometry import Box
from hemaserve.results import ModelSource, Provenance, as_json


@pytest.fixture(scope="module")
def accuracy(script):
    script("accuracy_page")
    return script("accuracy")


VIT = ModelSource("vit", "1", "ab" * 32)
PROVENANCE = Provenance(None, VIT, (VIT,), "1", 0.6, (), "0.1.0")


def document(report: object, **more) -> dict:
    evaluation = Evaluation(report, more.pop("failed", []), more.pop("partial", False), None, PROVENANCE, {})
    return evaluation.as_json(Path("/data")) | {"date": "2026-01-31"} | more


def guess(truth: CellType, answer: CellType, probability: float = 0.9, *, identified: bool = True) -> Guess:
    return Guess(truth, answer, probability, truth is answer, identified)


@pytest.fixture
def results(tmp_path, accuracy) -> Path:
    """A folder of figures as the commands write them: 3 of 4 cells right, one of them unidentified."""
    guesses = [
        guess(CellType.MONOCYTE, CellType.MONOCYTE),
        guess(CellType.MONOCYTE, CellType.NEUTROPHIL),
        guess(CellType.NEUTROPHIL, CellType.NEUTROPHIL),
        guess(CellType.NEUTROPHIL, CellType.NEUTROPHIL, 0.4, identified=False),
    ]
    box = Box(0, 0, 10, 10)
    detections = detection_report(
        [FieldDetections(((box, Kind.WBC),), (ScoredBox(box, Kind.WBC, 0.9),))],
        dict.fromkeys(Kind, 0.3),
        seconds=1,
    )
    documents = {
        "cells": document(cell_report(guesses, fallbacks=7, degraded=0, seconds=1)),
        "detections": document(detections, failed=[FailedImage(Path("/data/1.png"), "damaged")]),
        "fields": document(fields_report([FieldTally(5, 4, 4, 3, 2, 1, 1)], seconds=1)),
    }
    for measurement in accuracy.MEASUREMENTS:
        (tmp_path / f"{measurement.name}.json").write_text(json.dumps(documents[measurement.what]))
    model = {"name": "vit", "title": "A vision transformer", "is_default": True}
    model["source"] = as_json(VIT)
    (tmp_path / "models.json").write_text(json.dumps({"models": [model]}))
    return tmp_path


def test_the_page_is_made_of_the_files_beside_it(accuracy):
    assert accuracy.PAGE.exists() == accuracy.RESULTS.exists()
    if accuracy.PAGE.exists():
        expected = accuracy.render(accuracy.RESULTS)
        assert accuracy.PAGE.read_text(encoding="utf-8") == expected, (
            "run python scripts/accuracy.py --render"
        )


def test_the_figures_are_on_the_page(accuracy, results):
    page = accuracy.render(results)
    assert "| vit (default) | 4 | 75.0% (19.4 to 99.4) |" in page
    assert "| 25.0% | 66.7% (9.4 to 99.2) | 7 |" in page
    assert "1 fields (1 more could not be read): **mAP50 1.000**" in page
    assert "| WBC | 1 | 1.000 | 0.30 | 100.0% (2.5 to 100.0) |" in page
    assert "5 labelled white cells: recall 80.0%" in page
    assert "| 3 | 66.7% (9.4 to 99.2) | 1 |" in page
    assert f"`{'ab' * 32}`" in page
    assert "2026-01-31" in page


def test_every_command_is_shown_with_no_machine_in_it(accuracy, results):
    page = accuracy.render(results)
    for measurement in accuracy.MEASUREMENTS:
        assert f"`hemaserve evaluate {measurement.what} $HEMASERVE_DATA/{measurement.folder}" in page
    assert "/work" not in page
    assert str(results) not in page


@pytest.mark.parametrize("caveat", ["No split is by patient", "sets overlap", "not a medical device"])
def test_the_page_says_what_the_figures_are_not(accuracy, results, caveat):
    assert caveat in " ".join(accuracy.render(results).split())


def test_the_check_compares_and_writes_nothing(accuracy, results, tmp_path, monkeypatch):
    page = tmp_path / "accuracy.md"
    monkeypatch.setattr(accuracy, "RESULTS", results)
    monkeypatch.setattr(accuracy, "PAGE", page)
    monkeypatch.setattr(sys, "argv", ["accuracy.py", "--render"])
    accuracy.main()
    monkeypatch.setattr(sys, "argv", ["accuracy.py", "--check"])
    accuracy.main()
    page.write_text(page.read_text().replace("75.0%", "99.0%"))
    with pytest.raises(SystemExit, match="not current"):
        accuracy.main()
    assert "99.0%" in page.read_text()


def test_partial_figures_never_reach_the_page(accuracy, results):
    path = results / "detections.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"partial": True}))
    with pytest.raises(SystemExit, match=r"detections\.json is partial"):
        accuracy.render(results)


def test_figures_of_another_network_never_reach_the_page(accuracy, results):
    path = results / "models.json"
    path.write_text(path.read_text().replace("abab", "cdcd"))
    with pytest.raises(SystemExit, match="of another vit than"):
        accuracy.render(results)
