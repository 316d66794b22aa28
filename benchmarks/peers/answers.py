"""What is said of a field, in the same words by a peer and by our gateway, and whether two of them said the same.

Only the standard library: peers import it in environments of their own.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

BOX_TOLERANCE_PX: Final = 2.0
"""How far the same box's edges may be apart: bfloat16 networks in batches of another size round otherwise."""

PROBABILITY_TOLERANCE: Final = 0.05
"""How far the same cell's probabilities may be apart, for the same reason."""


@dataclass(frozen=True, slots=True)
class CellAnswer:
    """What is said of one white cell.

    Attributes:
        box: x0, y0, x1, y1 in the field's pixels.
        score: the detector's, 0 to 1.
        cell_type: the leaf type, or its primary type when the leaf is doubtful.
        probability: of the primary type, 0 to 1.
        identified: whether the classifier commits itself.
    """

    box: tuple[float, float, float, float]
    score: float
    cell_type: str
    probability: float
    identified: bool


@dataclass(frozen=True, slots=True)
class FieldAnswer:
    """What is said of one field.

    Attributes:
        cells: the white cells, best detection first.
        counts: how many objects of each kind the detector found.
    """

    cells: tuple[CellAnswer, ...]
    counts: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """The answer as JSON has it."""
        return {"cells": [asdict(cell) for cell in self.cells], "counts": dict(self.counts)}

    def to_json(self) -> bytes:
        """The answer as it travels."""
        return json.dumps(self.to_dict()).encode()

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """The answer in some JSON.

        Raises:
            KeyError, TypeError: it is none.
        """
        cells = (CellAnswer(**{**cell, "box": tuple(cell["box"])}) for cell in found["cells"])
        return cls(tuple(cells), dict(found["counts"]))


def disagreements(
    ours: FieldAnswer,
    theirs: FieldAnswer,
    *,
    box_px: float = BOX_TOLERANCE_PX,
    probability: float = PROBABILITY_TOLERANCE,
) -> Iterator[str]:
    """Where two answers about one field are further apart than rounding takes them, one sentence each.

    White cells are matched by their boxes; each must have a partner, of the same type and as sure. Numbers of the other
    kinds may differ by as many as lie at a detector's threshold: 2, and 3% of them.
    """
    left = list(theirs.cells)
    for cell in ours.cells:
        partner = min(left, key=lambda other: _apart(cell, other), default=None)
        if partner is None or _apart(cell, partner) > box_px:
            yield f"no cell at {_place(cell)}"
            continue
        left.remove(partner)
        if partner.cell_type != cell.cell_type:
            yield f"{partner.cell_type} instead of {cell.cell_type} at {_place(cell)}"
        if partner.identified != cell.identified:
            yield f"{'' if partner.identified else 'un'}identified at {_place(cell)}"
        if abs(partner.probability - cell.probability) > probability:
            yield f"probability {partner.probability:.3f} instead of {cell.probability:.3f} at {_place(cell)}"
    yield from (f"a cell more at {_place(cell)}" for cell in left)
    for kind in sorted({*ours.counts, *theirs.counts} - {"wbc"}):
        expected, found = ours.counts.get(kind, 0), theirs.counts.get(kind, 0)
        if abs(expected - found) > 2 + 0.03 * expected:
            yield f"{found} {kind} instead of {expected}"


def _apart(one: CellAnswer, other: CellAnswer) -> float:
    return max(abs(a - b) for a, b in zip(one.box, other.box, strict=True))


def _place(cell: CellAnswer) -> str:
    return ", ".join(f"{edge:.0f}" for edge in cell.box)
