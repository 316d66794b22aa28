"""What a field adds to its smear's count, and which of its cells other fields show too. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hemaserve.differential import CountedCell


@dataclass(frozen=True, slots=True)
class SlidePosition:
    """A point on the slide in the stage's coordinates, micrometres."""

    x_um: float
    y_um: float


@dataclass(frozen=True, slots=True)
class TalliedCell(CountedCell):
    """A cell, and where it is on the slide.

    Attributes:
        position: its centre, when known.
        diameter_um: its diameter in micrometres; 0 when unknown.
    """

    position: SlidePosition | None = None
    diameter_um: float = 0.0


@dataclass(frozen=True, slots=True)
class FieldScreenTally:
    """What the leukemia screen says of a field, counted.

    Attributes:
        field_flagged: whether the field as a whole was flagged.
        cells_flagged: how many of its white cells were flagged, whatever their type and identified or not.
        cells_screened: how many of its white cells were screened.
    """

    field_flagged: bool
    cells_flagged: int
    cells_screened: int

    @property
    def flagged(self) -> bool:
        """Whether the field or one of its cells should be looked at."""
        return self.field_flagged or self.cells_flagged > 0


@dataclass(frozen=True, slots=True)
class FieldTally:
    """What a field adds to its smear's count.

    Attributes:
        field_id: the caller's name for the field, unique in the smear.
        sequence: its place in the counting order, unique in the smear.
        cells: its white cells.
        failed: whether it could not be analysed; it then adds nothing but its name.
        degraded: whether any of its answers was degraded.
        image_sha256: digest of its image file in lower-case hexadecimal; empty when unknown.
        screen: what the leukemia screen says of it; None when it was not screened.
        classifier: name of the model that named its cells; empty when there were none, or nobody said.
    """

    field_id: str
    sequence: int
    cells: tuple[TalliedCell, ...] = ()
    failed: bool = False
    degraded: bool = False
    image_sha256: str = ""
    screen: FieldScreenTally | None = None
    classifier: str = ""


def shown_before(cells: Sequence[TalliedCell], counted: Sequence[TalliedCell]) -> tuple[bool, ...]:
    """For each of a field's cells, whether it is one of `counted`, which other fields showed.

    It is when it lies within half a diameter of that one, the larger of the two diameters. Different cells
    that merely touch lie farther apart.
    """
    here, before = _places(cells), _places(counted)
    apart = np.hypot(here[:, None, 0] - before[None, :, 0], here[:, None, 1] - before[None, :, 1])
    diameters = np.maximum(here[:, None, 2], before[None, :, 2])
    # An unknown position is NaN, near nothing. Strictly nearer, so that cells without diameters never match.
    return tuple(bool(same) for same in (apart < diameters / 2).any(axis=1))


def _places(cells: Sequence[TalliedCell]) -> NDArray[np.float64]:
    """float64 [N, 3] of x, y and diameter in micrometres; NaN where the position is unknown."""
    nowhere = SlidePosition(np.nan, np.nan)
    places = [((at := cell.position or nowhere).x_um, at.y_um, cell.diameter_um) for cell in cells]
    return np.array(places, np.float64).reshape(-1, 3)
