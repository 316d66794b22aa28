"""Figures as pictures."""

from xml.etree import ElementTree as ET

import pytest

from hemaserve.cells import CellType as T
from hemaserve.evaluation.cell_report import cell_report
from hemaserve.evaluation.fields import FieldTally, fields_report
from hemaserve.evaluation.guessing import leaf_guess, open_guess
from hemaserve.evaluation.pictures import draw_cells, draw_fields

FOLDERS = frozenset({T.NEUTROPHIL, T.MONOCYTE})
SAID = [
    ({T.NEUTROPHIL_BAND: 0.7, T.NEUTROPHIL_SEGMENTED: 0.2, T.MONOCYTE: 0.1}, T.NEUTROPHIL_BAND),
    ({T.NEUTROPHIL_BAND: 0.5, T.NEUTROPHIL_SEGMENTED: 0.4, T.MONOCYTE: 0.1}, T.NEUTROPHIL_SEGMENTED),
    ({T.NEUTROPHIL_BAND: 0.4, T.NEUTROPHIL_SEGMENTED: 0.3, T.MONOCYTE: 0.3}, T.MONOCYTE),
]


@pytest.fixture
def guesses():
    def truth(leaf):
        return T.MONOCYTE if leaf is T.MONOCYTE else T.NEUTROPHIL

    return [open_guess(said, truth(leaf), FOLDERS, identified=True) for said, leaf in SAID]


@pytest.fixture
def report(guesses):
    leaves = [leaf_guess(said, leaf) for said, leaf in SAID]
    return cell_report(
        guesses, [*leaves], unidentified_reasons={}, unanswerable={}, fallbacks=0, degraded=0, seconds=1.0
    )


def words(path):
    return " ".join(text.strip() for text in ET.parse(path).getroot().itertext())


def test_the_figures_are_in_the_pictures_of_cells(report, tmp_path):
    draw_cells(report, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "confusion.svg",
        "leaves.svg",
        "reliability.svg",
        "abstention.svg",
    }
    assert "n = 3, accuracy 66.7% (9.4 to 99.2)" in words(tmp_path / "confusion.svg")
    assert "Band neutrophil" in words(tmp_path / "leaves.svg")
    assert "expected calibration error" in words(tmp_path / "reliability.svg")
    assert "cells set aside" in words(tmp_path / "abstention.svg")


def test_the_same_figures_give_the_same_files(report, tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        draw_cells(report, tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_fields_have_pictures_where_there_are_cells_of_known_type(guesses, tmp_path):
    draw_fields(fields_report([FieldTally(1, 1, 1, 0, 0, 0, 0)], seconds=1.0), tmp_path)
    assert not list(tmp_path.iterdir())
    beliefs = tuple(guess.belief for guess in guesses)
    draw_fields(fields_report([FieldTally(3, 3, 3, 3, 2, 0, 2, (), beliefs)], seconds=1.0), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"reliability.svg", "abstention.svg"}
