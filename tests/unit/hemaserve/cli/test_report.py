"""What people read, and how the sample's answer is compared with what was drawn."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from hemaserve.cells import CellType, Kind, primary_of
from hemaserve.cli.analysis import Analysis, FailedFile
from hemaserve.cli.report import print_smear
from hemaserve.cli.sample import Comparison, compare
from hemaserve.geometry import Box
from hemaserve.results import (
    Cell,
    Classification,
    Differential,
    Failure,
    FieldResult,
    ModelSource,
    Provenance,
    ResultStatus,
    ReviewReason,
    SiteProfileSource,
    SmearEnd,
    SmearResult,
    TypeShare,
)
from hemaserve.synthetic import PlacedCell

PROVENANCE = Provenance(ModelSource("yolov8n", "1", "ab" * 32), None, (), "1", 0.5, (), "0.1.0")


def a_smear(fields=(), *, reasons=(), end=SmearEnd.ALL_COUNTED, target=0):
    counts = Differential(
        leukocytes=(
            TypeShare(CellType.NEUTROPHIL, 6, 60.0, 26.2, 87.8, "26511-6"),
            TypeShare(CellType.LYMPHOCYTE, 4, 40.0, 12.2, 73.8, "26478-8"),
            TypeShare(CellType.MONOCYTE, 0, 0.0, 0.0, 30.8, "26485-3"),
        ),
        finer=(TypeShare(CellType.NEUTROPHIL_BAND, 2, 20.0, 2.5, 55.6, "26508-2"),),
        erythroblasts=TypeShare(CellType.ERYTHROBLAST, 1, 10.0, None, None, "19048-8"),
        identified_leukocytes=10,
        unidentified=3,
        unidentified_share=3 / 13,
        review_reasons=tuple(reasons),
    )
    return SmearResult(
        "r",
        1,
        ResultStatus.PRELIMINARY,
        "",
        "s",
        "",
        counts,
        end,
        target,
        2,
        (),
        1,
        0,
        PROVENANCE,
        tuple(fields),
    )


def printed(result, failed=()):
    console = Console(file=io.StringIO(), width=100)
    print_smear(console, result, failed)
    return console.file.getvalue()


def test_the_table_has_counts_percentages_and_limits_with_finer_types_below():
    lines = printed(a_smear()).splitlines()
    neutrophil = next(index for index, line in enumerate(lines) if " Neutrophil " in line)
    assert all(text in lines[neutrophil] for text in ("6", "60.0", "26.2 - 87.8"))
    assert "  Band neutrophil" in lines[neutrophil + 1]
    assert any("Unidentified" in line and "3" in line and "23.1 of all" in line for line in lines)
    assert any("NRBC" in line and "10.0 per 100" in line for line in lines)


@pytest.mark.parametrize("reason", ReviewReason)
def test_every_review_reason_is_said_in_words(reason):
    text = printed(a_smear(reasons=[reason]))
    assert "Review:" in text
    assert reason.value not in text


def test_a_target_that_is_not_reached_is_said():
    assert "target of 200 leukocytes not reached" in printed(a_smear(end=SmearEnd.TOO_FEW, target=200))


def test_failures_and_provenance_are_said_and_many_failures_are_cut_short():
    failed = [FailedFile(Path(f"{n}.png"), Failure("INVALID_ARGUMENT", "X", "damaged")) for n in range(30)]
    text = printed(a_smear(), failed)
    assert "0.png: damaged" in text
    assert "10 more failed" in text
    assert "yolov8n abababababab" in text
    assert "not a medical device" in text


def test_the_site_profile_is_said_where_one_corrected():
    corrected = replace(PROVENANCE, site_profile=SiteProfileSource("a-lab", "cd" * 32))
    assert "site profile" not in printed(a_smear())
    assert "site profile: a-lab cdcdcdcdcdcd" in printed(replace(a_smear(), provenance=corrected))


def test_the_sample_is_compared_by_place_and_by_primary_type():
    def found(box, cell_type, *, identified=True):
        said = Classification(identified, cell_type, primary_of(cell_type), 0.9, {})
        return Cell("c", box, Kind.WBC, 0.9, classification=said)

    boxes = [Box(100 * n, 0, 100 * n + 50, 50) for n in range(5)]
    placed = [
        PlacedCell(boxes[0], Kind.WBC, CellType.NEUTROPHIL_SEGMENTED),
        PlacedCell(boxes[1], Kind.WBC, CellType.LYMPHOCYTE),
        PlacedCell(boxes[2], Kind.WBC, CellType.MONOCYTE),
        PlacedCell(boxes[3], Kind.WBC, CellType.BASOPHIL),
        PlacedCell(boxes[4], Kind.RBC, None),
    ]
    cells = (
        found(boxes[0], CellType.NEUTROPHIL_BAND),  # the primary type counts
        found(boxes[1], CellType.MONOCYTE),
        found(boxes[2], CellType.MONOCYTE, identified=False),
        found(boxes[4], CellType.LYMPHOCYTE),  # a red cell is none
    )
    result = FieldResult("r", 1, ResultStatus.PRELIMINARY, "", "1", 0, 640, 480, cells, {}, "", PROVENANCE)
    path = Path("field.png")
    analysis = Analysis(a_smear([result]), {"1": path}, ())
    assert compare(analysis, {path: tuple(placed)}) == Comparison(
        placed=4, found=3, extra=1, named=2, right=1
    )
