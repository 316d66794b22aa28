"""Pictures of one network: learning curves, confusion matrices, reliability; the model card links them."""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Final

from hemaserve.cells import FACTS, CellType
from hemaserve.evaluation import pictures
from hemaserve.evaluation.tables import percent_with_interval
from training import plots
from training.plots import Panel
from training.results import ClassifierFigures, Figures, ScreenFigures
from training.scores import ScoreFigures
from training.settings import settings

log = logging.getLogger(__name__)

#: How the names of detectors and of screening networks begin; the others are classifiers.
_DETECTORS: Final = "yolo"
_SCREENS: Final = "leukemia"

#: Columns of ultralytics' results.csv, and the names under which they are shown.
_DETECTOR_PANELS: Final = (
    (
        "loss on the training fields",
        {"box": "train/box_loss", "kind": "train/cls_loss", "corner": "train/dfl_loss"},
    ),
    ("validation fields", {"mAP50": "metrics/mAP50(B)", "mAP50-95": "metrics/mAP50-95(B)"}),
    ("learning rate", {"": "lr/pg0"}),
)


def report(name: str) -> list[Path]:
    """Draw what is known of a network into ``docs/models/NAME``. Returns the files.

    The learning curves need the run's history, which is not committed: they are only drawn again where the network
    was trained.
    """
    folder = settings().reports / name
    folder.mkdir(parents=True, exist_ok=True)
    written = _curves(folder, name)
    if not Figures.path(name).exists():
        log.info("%s has not been evaluated yet: only its learning curves are drawn", name)
    elif name.startswith(_SCREENS):
        screen = ScreenFigures.read(name)
        written += _confusion(folder / "confusion.svg", f"{name}: classes", screen.scores)
        written += _reliability(folder, screen)
    elif not name.startswith(_DETECTORS):
        classifier = ClassifierFigures.read(name)
        written += _confusion(folder / "confusion.svg", f"{name}: primary types", classifier.primary)
        written += _confusion(folder / "confusion-leaf.svg", f"{name}: leaf types", classifier.leaf)
        written += _reliability(folder, classifier)
    log.info("%s: %d pictures in %s", name, len(written), folder)
    return written


def _confusion(path: Path, title: str, figures: ScoreFigures | None) -> list[Path]:
    if figures is None:
        return []
    names = [_title(label) for label in figures.labels]
    heading = (
        f"{title}\nn = {figures.crops}, accuracy {percent_with_interval(figures.accuracy, figures.accuracy_ci95)}, "
        f"macro F1 {percent_with_interval(figures.macro_f1, figures.macro_f1_ci95)}"
    )
    pictures.draw_counts(path, heading, figures.matrix(), labels=names, answers=names)
    return [path]


def _reliability(folder: Path, figures: ClassifierFigures | ScreenFigures) -> list[Path]:
    if not figures.reliability:
        return []
    path = folder / "reliability.svg"
    pictures.draw_reliability(path, figures.reliability, figures.ece)
    return [path]


def _title(label: str) -> str:
    """What people read for a cell type; the classes of the screen are read as they are."""
    return FACTS[CellType(label)].title if label in list(CellType) else label


def _curves(folder: Path, name: str) -> list[Path]:
    history = _history(name)
    panels = _classifier_panels(history) if history else _detector_panels(name)
    if not panels:
        log.info("%s was not trained here: its learning curves stay as they are", name)
        return []
    path = folder / "curves.svg"
    # A network that was restored from its file has no curves of the epochs before.
    plots.draw_curves(path, name, panels, int(history[0]["epoch"]) if history else 1)
    return [path]


def _history(name: str) -> list[dict[str, float]]:
    """A classifier's epochs; none where it was not trained here, or is no classifier."""
    path = settings().runs / "classifier" / name / "history.json"
    return list(json.loads(path.read_text())) if path.exists() else []


def _classifier_panels(history: list[dict[str, float]]) -> list[Panel]:
    series = {key: [row[key] for row in history] for key in ("loss", "held_out_accuracy", "learning_rate")}
    return [
        Panel("loss on the training crops", {"": series["loss"]}),
        Panel("accuracy on the held-out crops", {"": series["held_out_accuracy"]}),
        Panel("learning rate at the end of the epoch", {"": series["learning_rate"]}, logarithmic=True),
    ]


def _detector_panels(name: str) -> list[Panel]:
    path = settings().runs / "detector" / name / "results.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = [{key.strip(): float(value) for key, value in row.items()} for row in csv.DictReader(file)]
    return [
        Panel(title, {shown: [row[column] for row in rows] for shown, column in columns.items()})
        for title, columns in _DETECTOR_PANELS
    ]
