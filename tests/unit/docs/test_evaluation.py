"""docs/evaluation.md names every figure that the evaluations give."""

import dataclasses
import re
from pathlib import Path

import pytest

from hemaserve.evaluation.abstention import AbstentionPoint
from hemaserve.evaluation.calibration import Calibration
from hemaserve.evaluation.cell_report import CellReport
from hemaserve.evaluation.detections import DetectionReport
from hemaserve.evaluation.explanation_report import Comparison, ExplanationReport
from hemaserve.evaluation.fields import FieldsReport
from hemaserve.evaluation.leaf_report import LeafReport
from hemaserve.evaluation.metrics import ReliabilityBin
from hemaserve.evaluation.outcome import Evaluation
from hemaserve.evaluation.screen_report import ScreenedCellsReport, ScreenReport
from hemaserve.evaluation.type_scores import TypeScores

PAGE = Path(__file__).resolve().parents[3] / "docs" / "evaluation.md"


def section(title: str) -> set[str]:
    """The words in code style in the table of the section whose title has `title` in it."""
    parts = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (text,) = (part for part in parts if title in part.splitlines()[0])
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    return set(re.findall(r"`(\w+)`", "\n".join(rows)))


@pytest.mark.parametrize(
    ("title", "report"),
    [
        ("evaluate cells", CellReport),
        ("evaluate cells", LeafReport),
        ("evaluate detections", DetectionReport),
        ("evaluate fields", FieldsReport),
        ("evaluate screen", ScreenReport),
        ("evaluate screen", ScreenedCellsReport),
        ("evaluate explanations", ExplanationReport),
        ("evaluate explanations", Comparison),
        ("Calibration and abstention", Calibration),
        ("Calibration and abstention", ReliabilityBin),
        ("Calibration and abstention", AbstentionPoint),
    ],
)
def test_every_figure_of_a_report_is_explained(title, report):
    assert {field.name for field in dataclasses.fields(report)} <= section(title)


def test_every_score_of_a_type_is_explained():
    scores = {field.name for field in dataclasses.fields(TypeScores)}
    assert {name for name in scores if not name.endswith("_ci95")} <= section("evaluate cells")


def test_the_circumstances_are_explained():
    assert section("With every command") >= Evaluation(None, [], False, None, None, {}).as_json(
        Path()
    ).keys() - {"n"}
