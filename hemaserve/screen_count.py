"""The leukemia screen over a smear's counted fields. Pure."""

from dataclasses import dataclass
from typing import Final

from hemaserve.tally import FieldTally

MOST_FIELD_IDS: Final = 100
"""Ids of flagged fields that are listed, by the contract."""


@dataclass(frozen=True, slots=True)
class ScreenCount:
    """What the screen found, reasons to look and no diagnosis. A cell that overlapping fields show counts in each.

    Attributes:
        fields_screened: fields that were screened.
        fields_flagged: fields that were flagged as a whole.
        cells_screened: white cells that were screened.
        cells_flagged: white cells that were flagged.
        flagged_field_ids: fields that were flagged as a whole or hold a flagged cell, in the order in which they were
            added, at most `MOST_FIELD_IDS`.
    """

    fields_screened: int = 0
    fields_flagged: int = 0
    cells_screened: int = 0
    cells_flagged: int = 0
    flagged_field_ids: tuple[str, ...] = ()

    @property
    def flagged(self) -> bool:
        """Whether anything should be looked at."""
        return self.fields_flagged > 0 or self.cells_flagged > 0

    def with_field(self, tally: FieldTally) -> "ScreenCount":
        """The count with one more field, which adds nothing when it was not screened."""
        screen = tally.screen
        if screen is None:
            return self
        ids = self.flagged_field_ids
        if screen.flagged and len(ids) < MOST_FIELD_IDS:
            ids = (*ids, tally.field_id)
        return ScreenCount(
            fields_screened=self.fields_screened + 1,
            fields_flagged=self.fields_flagged + screen.field_flagged,
            cells_screened=self.cells_screened + screen.cells_screened,
            cells_flagged=self.cells_flagged + screen.cells_flagged,
            flagged_field_ids=ids,
        )
