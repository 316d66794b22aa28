"""Answers of an undisturbed stack, made up."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from hemaserve.cells import CellType
from hemaserve.geometry import Box
from hemaserve.results import (
    Cell,
    Classification,
    Differential,
    FieldResult,
    MemberOpinion,
    Provenance,
    ResultStatus,
    SmearEnd,
    SmearResult,
    TypeShare,
)

PROVENANCE = Provenance(None, None, (), "1", 0.6, (), "0.1.0")
TYPES = (CellType.LYMPHOCYTE, CellType.MONOCYTE, CellType.EOSINOPHIL)


def box(number: int) -> Box:
    return Box(number, number, number + 9, number + 9)


def classification(cell_type: CellType, share: float = 0.9) -> Classification:
    rest = (1 - share) / (len(TYPES) - 1)
    shares = {each: share if each is cell_type else rest for each in TYPES}
    return Classification(
        identified=True,
        type=cell_type,
        primary_type=cell_type,
        probability=share,
        leaf_probabilities=shares,
        members=(MemberOpinion("one", shares), MemberOpinion("other", shares)),
    )


@pytest.fixture
def named() -> Callable[..., Classification]:
    """`named(type, share)`: what is said of a cell."""
    return classification


@pytest.fixture
def field_result() -> Callable[..., FieldResult]:
    """`field_result(field_id, *types)`: a field with a cell of each of these types."""

    def make(field_id: str, *types: CellType) -> FieldResult:
        cells = tuple(
            Cell(
                f"{field_id}-{number}",
                Box(number, number, number + 9, number + 9),
                None,
                0.9,
                None,
                classification(each),
            )
            for number, each in enumerate(types)
        )
        return FieldResult(
            result_id="result",
            revision=1,
            status=ResultStatus.PRELIMINARY,
            supersedes_result_id="",
            field_id=field_id,
            sequence=0,
            width_px=100,
            height_px=100,
            cells=cells,
            kind_counts={},
            image_sha256=f"sha of {field_id}",
            provenance=PROVENANCE,
        )

    return make


@pytest.fixture
def smear_result() -> Callable[..., SmearResult]:
    """`smear_result(fields)`: the sum of some fields."""

    def make(fields: tuple[FieldResult, ...], **changes: object) -> SmearResult:
        counts = dict.fromkeys(TYPES, 0)
        for each in fields:
            for cell in each.cells:
                counts[cell.classification.primary_type] += 1
        shares = tuple(TypeShare(each, count, None, None, None, "") for each, count in counts.items())
        differential = Differential(shares, (), None, sum(counts.values()), 0, 0.0, ())
        result = SmearResult(
            result_id="result",
            revision=1,
            status=ResultStatus.PRELIMINARY,
            supersedes_result_id="",
            smear_id="smear",
            specimen="",
            differential=differential,
            end=SmearEnd.ALL_COUNTED,
            target=0,
            fields_counted=len(fields),
            failed_field_ids=(),
            last_sequence=len(fields) - 1,
            counted_elsewhere=0,
            provenance=PROVENANCE,
            fields=fields,
        )
        return replace(result, **changes)

    return make
