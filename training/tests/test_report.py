"""The pictures of a network."""

import json
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from hemaserve.cells import LEAF_TYPES, PRIMARY_TYPES
from hemaserve.evaluation.metrics import reliability_bins
from training import plots, scores
from training.plots import Panel
from training.report import report
from training.results import ClassifierFigures, DetectorFigures, ScreenFigures

_SVG = "{http://www.w3.org/2000/svg}"
_MOST_BYTES = 60_000


def _texts(path) -> str:
    return " ".join(node.text or "" for node in ET.parse(path).iter(f"{_SVG}text"))


def _answers(labels, share_right=0.9, count=400):
    generator = np.random.default_rng(1)
    truth = generator.integers(0, len(labels), count)
    guess = generator.integers(0, len(labels), count)
    return scores.score(truth, np.where(generator.random(count) < share_right, truth, guess), labels)


@pytest.fixture
def figures(place) -> ClassifierFigures:
    confidence = np.linspace(0.3, 1, 400)
    right = np.random.default_rng(0).random(400) < confidence
    stored = ClassifierFigures(
        name="vit",
        ece=0.0123,
        primary=_answers(PRIMARY_TYPES),
        leaf=_answers(LEAF_TYPES),
        reliability=reliability_bins(confidence.tolist(), right.tolist()),
    )
    stored.write()
    return stored


def test_a_classifier_has_its_curves_confusions_and_reliability(place, figures):
    history = place.runs / "classifier" / "vit" / "history.json"
    history.parent.mkdir(parents=True)
    row = {
        "epoch": 1,
        "side_px": 64,
        "loss": 1.5,
        "held_out_accuracy": 0.5,
        "learning_rate": 1e-3,
        "seconds": 9,
    }
    history.write_text(json.dumps([row, row | {"epoch": 2, "loss": 1.0}]))
    written = report("vit")
    assert sorted(path.name for path in written) == [
        "confusion-leaf.svg",
        "confusion.svg",
        "curves.svg",
        "reliability.svg",
    ]
    for path in written:
        assert path.parent == place.reports / "vit"
        assert path.stat().st_size < _MOST_BYTES
        assert ET.parse(path).getroot().tag == f"{_SVG}svg"


def test_a_network_that_was_trained_elsewhere_keeps_the_curves_it_has(place, figures):
    kept = place.reports / "vit" / "curves.svg"
    kept.parent.mkdir(parents=True)
    kept.write_text("drawn elsewhere")
    assert kept not in report("vit")
    assert kept.read_text() == "drawn elsewhere"


def test_a_confusion_matrix_shows_counts_titles_and_intervals(place, figures):
    report("vit")
    text = _texts(place.reports / "vit" / "confusion.svg")
    for label, row in figures.primary.confusion.items():
        assert str(row[label]) in text
    assert "Immature granulocyte" in text
    low, high = figures.primary.accuracy_ci95
    assert f"{100 * figures.primary.accuracy:.1f}% ({100 * low:.1f} to {100 * high:.1f})" in text


def test_the_reliability_diagram_says_the_calibration_error(place, figures):
    report("vit")
    assert "1.2%" in _texts(place.reports / "vit" / "reliability.svg")


def test_the_same_figures_give_the_same_file(place, figures):
    first = {path: path.read_bytes() for path in report("vit")}
    assert {path: path.read_bytes() for path in report("vit")} == first


def test_a_detector_has_the_curves_of_its_results_table(place):
    DetectorFigures(name="yolov8n").write()
    table = place.runs / "detector" / "yolov8n" / "results.csv"
    table.parent.mkdir(parents=True)
    columns = "train/box_loss,train/cls_loss,train/dfl_loss,metrics/mAP50(B),metrics/mAP50-95(B),lr/pg0"
    # Ultralytics pads its column names in some versions.
    table.write_text(f"epoch, {columns}\n1,0.6,0.4,0.9,0.97,0.77,0.0006\n2,0.5,0.3,0.8,0.98,0.79,0.0003\n")
    (path,) = report("yolov8n")
    assert path == place.reports / "yolov8n" / "curves.svg"
    assert "mAP50-95" in _texts(path)


def test_a_screening_network_has_its_confusion_and_reliability(place):
    bins = reliability_bins([0.9, 0.6, 0.8], [True, False, True])
    ScreenFigures(name="leukemia_cell", scores=_answers(("benign", "blast-like")), reliability=bins).write()
    assert sorted(path.name for path in report("leukemia_cell")) == ["confusion.svg", "reliability.svg"]
    assert "blast-like" in _texts(place.reports / "leukemia_cell" / "confusion.svg")


def test_a_network_without_figures_still_has_its_curves(place):
    history = place.runs / "classifier" / "xception-base" / "history.json"
    history.parent.mkdir(parents=True)
    history.write_text(
        json.dumps([{"epoch": 1, "loss": 1.5, "held_out_accuracy": 0.5, "learning_rate": 1e-3}])
    )
    assert [path.name for path in report("xception-base")] == ["curves.svg"]


def test_the_curves_of_a_restored_network_begin_where_it_went_on(place, monkeypatch):
    history = place.runs / "classifier" / "unet" / "history.json"
    history.parent.mkdir(parents=True)
    row = {"loss": 1.5, "held_out_accuracy": 0.5, "learning_rate": 1e-3}
    history.write_text(json.dumps([row | {"epoch": epoch} for epoch in (29, 30)]))
    drawn = []
    monkeypatch.setattr(plots, "draw_curves", lambda *arguments: drawn.append(arguments))
    report("unet")
    ((_, _, panels, first_epoch),) = drawn
    assert first_epoch == 29
    assert [len(panel.series[""]) for panel in panels] == [2, 2, 2]


def test_curves_have_a_point_for_each_epoch(tmp_path):
    path = tmp_path / "curves.svg"
    plots.draw_curves(path, "net", [Panel("loss", {"": [3.0, 2.0, 1.0]})])
    markers = [node for node in ET.parse(path).iter(f"{_SVG}use") if "fill: #1f77b4" in node.get("style", "")]
    assert len(markers) == 3
