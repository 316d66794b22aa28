"""How far two versions of a model agree."""

import pytest

from hemaserve.cells import CellType, UnidentifiedReason
from services.classifier.agreement import UNIDENTIFIED, Agreement, agreement, word
from services.classifier.decision import Decision

DOUBT = (UnidentifiedReason.LOW_PROBABILITY,)


def named(cell_type: CellType, primary: CellType, reasons=()) -> Decision:
    return Decision(cell_type, primary, 0.9, reasons)


BAND = named(CellType.NEUTROPHIL_BAND, CellType.NEUTROPHIL)
SEGMENTED = named(CellType.NEUTROPHIL_SEGMENTED, CellType.NEUTROPHIL)
MONOCYTE = named(CellType.MONOCYTE, CellType.MONOCYTE)
DOUBTFUL = named(CellType.MONOCYTE, CellType.MONOCYTE, DOUBT)
DOUBTFUL_TOO = named(CellType.NEUTROPHIL_BAND, CellType.NEUTROPHIL, DOUBT)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (BAND, BAND, Agreement.SAME_TYPE),
        (BAND, SEGMENTED, Agreement.FINER_TYPE_DIFFERS),
        (BAND, MONOCYTE, Agreement.TYPE_DIFFERS),
        (MONOCYTE, DOUBTFUL, Agreement.ONE_UNIDENTIFIED),
        (DOUBTFUL, DOUBTFUL_TOO, Agreement.BOTH_UNIDENTIFIED),
    ],
)
def test_agreement_is_about_what_is_said_and_the_same_either_way(one, other, expected):
    assert agreement(one, other) is agreement(other, one) is expected


def test_what_is_said_is_one_of_few_words():
    assert (word(BAND), word(DOUBTFUL)) == ("neutrophil", UNIDENTIFIED)
