"""How far two versions of a model agree about cells. Pure."""

from enum import StrEnum
from typing import Final

from services.classifier.decision import Decision

UNIDENTIFIED: Final = "unidentified"
"""What a version says of a cell that it does not name."""


class Agreement(StrEnum):
    """How the decisions of two versions about one cell compare."""

    SAME_TYPE = "same_type"
    """Both name it, and alike."""
    FINER_TYPE_DIFFERS = "finer_type_differs"
    """Both name it, and only the primary type is the same: a band is not a segmented neutrophil."""
    TYPE_DIFFERS = "type_differs"
    """Both name it, and not even the primary type is the same."""
    ONE_UNIDENTIFIED = "one_unidentified"
    """One of them names it."""
    BOTH_UNIDENTIFIED = "both_unidentified"
    """Neither does: whatever their best guesses are, they agree."""


def agreement(said: Decision, shadow_said: Decision) -> Agreement:
    """How what two versions say of one cell compares."""
    match said.identified, shadow_said.identified:
        case True, True:
            if said.cell_type is shadow_said.cell_type:
                return Agreement.SAME_TYPE
            same_primary = said.primary_type is shadow_said.primary_type
            return Agreement.FINER_TYPE_DIFFERS if same_primary else Agreement.TYPE_DIFFERS
        case False, False:
            return Agreement.BOTH_UNIDENTIFIED
        case _:
            return Agreement.ONE_UNIDENTIFIED


def word(decision: Decision) -> str:
    """What a version says of a cell, in one of few words: its primary type, or that it is unidentified."""
    return decision.primary_type.value if decision.identified else UNIDENTIFIED
