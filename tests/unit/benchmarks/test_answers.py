"""The check of answers finds what is wrong with them, so that one that finds nothing shows something."""

from dataclasses import replace

import pytest

from benchmarks.answers import cell_problems, field_problems, is_clear, smear_problems
from hemaserve.cells import CellType
from hemaserve.results import Failure

from .conftest import PROVENANCE

LYMPHOCYTE, MONOCYTE, EOSINOPHIL = CellType.LYMPHOCYTE, CellType.MONOCYTE, CellType.EOSINOPHIL
SHA = "sha of a"


@pytest.fixture
def field(field_result):
    return field_result("a", LYMPHOCYTE, MONOCYTE)


def changed(field, place, **changes):
    cells = list(field.cells)
    cells[place] = replace(cells[place], **changes)
    return replace(field, cells=tuple(cells))


def test_the_same_answer_is_sound(field):
    assert field_problems(field, field, SHA) == []


def test_what_rounding_does_is_no_problem(field, named):
    assert field_problems(field, changed(field, 0, classification=named(LYMPHOCYTE, 0.91)), SHA) == []


def test_another_fields_answer_is_noticed(field, field_result):
    assert field_problems(field, field_result("b", LYMPHOCYTE, MONOCYTE), SHA)


@pytest.mark.parametrize(
    "harm",
    [
        lambda field, named: replace(field, image_sha256="another"),
        lambda field, named: replace(field, cells=field.cells[:1]),
        lambda field, named: replace(field, cells=field.cells[::-1]),
        lambda field, named: changed(field, 0, box=field.cells[1].box, cell_id=field.cells[0].cell_id + "x"),
        lambda field, named: changed(field, 0, box=replace(field.cells[0].box, x1=50.0)),
        lambda field, named: changed(field, 0, classification=field.cells[1].classification),
        lambda field, named: changed(field, 0, classification=named(LYMPHOCYTE, 0.85)),
        lambda field, named: changed(field, 0, classification=None),
        lambda field, named: replace(field, cells=(), error=Failure("INTERNAL", "INTERNAL", "a defect")),
    ],
)
def test_each_harm_is_noticed(field, named, harm):
    assert field_problems(field, harm(field, named), SHA)


def test_of_a_degraded_answer_only_what_its_members_said_is_compared(named):
    whole = named(LYMPHOCYTE)
    alone = replace(named(MONOCYTE), members=whole.members[:1], degraded=True)
    assert cell_problems(whole, alone) == []
    assert cell_problems(whole, replace(alone, members=named(MONOCYTE).members))


@pytest.mark.parametrize(("share", "clear"), [(0.9, True), (0.62, False), (0.35, False)])
def test_a_cell_at_a_threshold_is_not_clear(named, share, clear):
    assert is_clear(named(LYMPHOCYTE, share), PROVENANCE) is clear


def test_a_smear_is_the_sum_of_its_fields_each_told_once(field_result, smear_result):
    fields = (field_result("a", LYMPHOCYTE), field_result("b", LYMPHOCYTE, EOSINOPHIL))
    sent = {each.field_id: each for each in fields}
    assert smear_problems(smear_result(fields), sent, ["b", "a"]) == []
    twice = smear_result((*fields, fields[1]))
    for result, heard in (
        (smear_result(fields), ["a", "b", "b"]),
        (smear_result(fields[:1]), ["a"]),
        (twice, ["a", "b"]),
        (replace(twice, fields=fields, fields_counted=2), ["a", "b"]),
        (smear_result((fields[0], field_result("b", LYMPHOCYTE))), ["a", "b"]),
    ):
        assert smear_problems(result, sent, heard)
