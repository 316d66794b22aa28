"""Two answers about a field agree, or it is said where they do not."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.peers.answers import CellAnswer, FieldAnswer, disagreements

CELL = CellAnswer((10.0, 20.0, 110.0, 120.0), 0.9, "lymphocyte", 0.97, True)
OTHER = replace(CELL, box=(300.0, 20.0, 400.0, 120.0), cell_type="monocyte")
ANSWER = FieldAnswer((CELL, OTHER), {"wbc": 2, "rbc": 100, "platelet": 3})

edges = st.floats(0, 1000, width=32)
cells = st.builds(
    CellAnswer,
    box=st.tuples(edges, edges, edges, edges),
    score=st.floats(0, 1),
    cell_type=st.sampled_from(["lymphocyte", "monocyte"]),
    probability=st.floats(0, 1),
    identified=st.booleans(),
)
field_answers = st.builds(
    FieldAnswer, st.lists(cells, max_size=4).map(tuple), st.just({"wbc": 1, "rbc": 2, "platelet": 0})
)


def said(theirs, ours=ANSWER):
    return list(disagreements(ours, theirs))


@given(field_answers)
def test_an_answer_survives_its_way_and_agrees_with_itself(answer):
    assert FieldAnswer.from_dict(answer.to_dict()) == answer
    assert said(answer, answer) == []


def test_rounding_is_no_disagreement():
    moved = replace(CELL, box=(11.0, 21.0, 110.5, 119.0), probability=0.94)
    assert said(FieldAnswer((moved, OTHER), {"wbc": 2, "rbc": 102, "platelet": 4})) == []


def test_the_order_of_cells_does_not_matter():
    assert said(FieldAnswer((OTHER, CELL), ANSWER.counts)) == []


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        (replace(CELL, cell_type="monocyte"), "monocyte instead of lymphocyte"),
        (replace(CELL, identified=False), "unidentified at 10, 20, 110, 120"),
        (replace(CELL, probability=0.9), "probability 0.900 instead of 0.970"),
    ],
)
def test_what_is_said_otherwise_is_told(cell, sentence):
    (found,) = said(FieldAnswer((cell, OTHER), ANSWER.counts))
    assert found.startswith(sentence)


def test_a_cell_elsewhere_is_one_missing_and_one_more():
    elsewhere = replace(CELL, box=(20.0, 20.0, 120.0, 120.0))
    assert said(FieldAnswer((elsewhere, OTHER), ANSWER.counts)) == [
        "no cell at 10, 20, 110, 120",
        "a cell more at 20, 20, 120, 120",
    ]


def test_one_cell_is_not_the_partner_of_two():
    assert said(FieldAnswer((CELL,), ANSWER.counts), FieldAnswer((CELL, CELL), ANSWER.counts)) == [
        "no cell at 10, 20, 110, 120"
    ]


def test_other_counts_are_told():
    assert said(FieldAnswer(ANSWER.cells, {"wbc": 2, "rbc": 94, "platelet": 3})) == ["94 rbc instead of 100"]


def test_an_empty_answer_does_not_agree():
    assert len(said(FieldAnswer((), {}))) == 4
