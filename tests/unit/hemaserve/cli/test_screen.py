"""What the command says of the leukemia screen: reasons to look, in words that diagnose nothing."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from hemaserve.cells import CellType, Kind
from hemaserve.cli.analysis import Analysis
from hemaserve.cli.screen import print_screen
from hemaserve.geometry import Box
from hemaserve.results import (
    Cell,
    Classification,
    Differential,
    FieldResult,
    Provenance,
    ResultStatus,
    ScreenFinding,
    SmearEnd,
    SmearResult,
    SmearScreen,
)

PROVENANCE = Provenance(None, None, (), "1", 0.5, (), "0")
COUNTS = Differential((), (), None, 0, 0, 0.0, ())


def finding(probability, *, flagged):
    return ScreenFinding(flagged, probability, {"benign": 1 - probability, "pre": probability})


def cell(cell_id, probability, *, flagged, cell_type=CellType.LYMPHOCYTE, identified=True):
    said = Classification(identified, cell_type, cell_type, 0.9, {})
    screen = finding(probability, flagged=flagged)
    return Cell(cell_id, Box(0, 0, 9, 9), Kind.WBC, 0.9, classification=said, screen=screen)


def field(name, found, *cells):
    return FieldResult(
        "r", 1, ResultStatus.PRELIMINARY, "", name, 0, 9, 9, cells, {}, "", PROVENANCE, screen=found
    )


def analysis(*fields, screen=SmearScreen(3, 1, 7, 2, ())):
    smear = SmearResult(
        "r",
        1,
        ResultStatus.PRELIMINARY,
        "",
        "s",
        "",
        COUNTS,
        SmearEnd.ALL_COUNTED,
        0,
        3,
        (),
        1,
        0,
        PROVENANCE,
        fields,
    )
    files = {each.field_id: Path(f"{each.field_id}.png") for each in fields}
    return Analysis(replace(smear, screen=screen), files, ())


def printed(result):
    console = Console(file=io.StringIO(), width=120)
    print_screen(console, result)
    return " ".join(console.file.getvalue().split())


def test_counts_flagged_fields_and_flagged_cells_are_shown_with_probabilities():
    text = printed(
        analysis(
            field(
                "one",
                finding(0.97, flagged=True),
                cell("c1", 0.8, flagged=True),
                cell("c2", 0.2, flagged=False),
            ),
            field("two", finding(0.1, flagged=False), cell("c1", 0.2, flagged=False)),
        )
    )
    assert "1 of 3 fields and 2 of 7 white cells flagged" in text
    assert "flagged 97% (pre)" in text
    assert "1 of 2: c1 lymphocyte 80%" in text
    assert "two.png" not in text
    assert "never a diagnosis" in text
    assert "no flag is no finding of health" in text


def test_a_field_that_is_only_flagged_for_its_cells_is_shown():
    text = printed(analysis(field("one", finding(0.2, flagged=False), cell("c1", 0.7, flagged=True))))
    assert "one.png" in text
    assert "not flagged, 20%" in text


def test_an_unidentified_cell_is_shown_as_such_with_its_flag():
    text = printed(
        analysis(field("one", finding(0.2, flagged=False), cell("c1", 0.7, flagged=True, identified=False)))
    )
    assert "c1 unidentified 70%" in text


def test_without_flags_there_is_no_list_but_the_words():
    text = printed(analysis(field("one", finding(0.1, flagged=False)), screen=SmearScreen(1, 0, 0, 0, ())))
    assert "0 of 1 field and 0 of 0 white cells flagged" in text
    assert "one.png" not in text
    assert "no finding of health" in text


def test_many_fields_are_cut_short():
    fields = [field(str(number), finding(0.9, flagged=True)) for number in range(30)]
    assert "and 10 more fields" in printed(analysis(*fields))


def test_a_files_name_is_no_markup():
    assert "[red].png" in printed(analysis(field("[red]", finding(0.9, flagged=True))))


def test_what_was_not_screened_says_nothing():
    assert printed(analysis(screen=None)) == ""


@pytest.mark.parametrize("word", ["leukemia patient", "malignant", "has leukemia", "positive"])
def test_the_words_name_no_disease_of_a_person(word):
    text = printed(analysis(field("one", finding(0.97, flagged=True), cell("c1", 0.8, flagged=True))))
    assert word not in text.lower()
