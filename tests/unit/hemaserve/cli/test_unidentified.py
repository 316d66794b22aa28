"""The unidentified cells of a smear on the terminal."""

import io
from pathlib import Path

from rich.console import Console

from hemaserve.cells import CellType, Kind
from hemaserve.cli.analysis import Analysis
from hemaserve.cli.unidentified import print_unidentified
from hemaserve.geometry import Box
from hemaserve.results import Cell, Classification, FieldResult, ResultStatus
from hemaserve.results import UnidentifiedReason as Reason

from .test_report import PROVENANCE, a_smear

BOX = Box(0, 0, 50, 50)


def cell(*reasons, kind=Kind.WBC, counted_elsewhere=False, **scores):
    said = Classification(
        not reasons,
        CellType.MONOCYTE,
        CellType.MONOCYTE,
        0.625,
        {},
        unidentified_reasons=reasons,
        **scores,
    )
    return Cell("c7", BOX, kind, 0.9, classification=said, counted_elsewhere=counted_elsewhere)


def printed(*cells):
    field = FieldResult("r", 1, ResultStatus.PRELIMINARY, "", "1", 0, 640, 480, cells, {}, "", PROVENANCE)
    console = Console(file=io.StringIO(), width=140)
    print_unidentified(console, Analysis(a_smear([field]), {"1": Path("some/field.png")}, ()))
    return console.file.getvalue()


def test_each_cell_is_shown_with_its_best_guess_its_scores_and_why():
    text = printed(cell(Reason.LOW_PROBABILITY, Reason.OUT_OF_DISTRIBUTION, ood_score=4.25, disagreement=0.5))
    (line,) = [line for line in text.splitlines() if "field.png" in line]
    for part in ("c7", "Monocyte", "0.62", "0.50", "4.25", "low probability, out of distribution"):
        assert part in line


def test_a_score_that_is_not_given_is_left_empty():
    (line,) = [line for line in printed(cell(Reason.LOW_PROBABILITY)).splitlines() if "field.png" in line]
    assert "None" not in line


def test_cells_that_count_nowhere_as_unidentified_are_not_listed():
    others = (
        cell(),
        cell(Reason.LOW_PROBABILITY, kind=Kind.PLATELET),
        cell(Reason.LOW_PROBABILITY, counted_elsewhere=True),
    )
    assert printed(*others) == ""


def test_many_are_cut_short():
    text = printed(*[cell(Reason.MEMBERS_DISAGREE)] * 25)
    assert text.count("members disagree") == 20
    assert "5 more" in text
