"""A smear's count: fields that are done in any order, counted in sequence order. Pure.

The rule. A field is counted when every field that belongs before it is done, and none can come between any
more. A stream announces its fields in ascending sequence, with gaps as it likes, so nothing below the highest
number announced on it can still come. Tallies handed back from an earlier, broken stream are known from the
start, but a field between them may have been lost and be sent again: they wait until the stream has passed
them, or has ended. The count ends with the field in which the target is reached. That field counts whole, so
the order of cells within a field does not matter; fields after it in sequence are not counted, however early
they were done, so quick sparse fields do not bias the differential. The answer therefore depends on the
fields alone, and not on who was faster or on how often the stream broke.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from hemaserve.differential import UNIDENTIFIED_LIMIT, Differential, ReviewReason, count
from hemaserve.errors import InvalidArgument
from hemaserve.screen_count import ScreenCount
from hemaserve.tally import FieldTally, TalliedCell, shown_before


class SmearEnd(StrEnum):
    """Why a smear's count ended."""

    TARGET_REACHED = "target_reached"
    TOO_FEW = "too_few"
    ALL_COUNTED = "all_counted"


@dataclass(frozen=True, slots=True)
class SmearOutcome:
    """A smear's result.

    Attributes:
        differential: over the fields counted, with every reason for a review.
        end: why the count ended.
        fields_counted: fields counted, failed ones not among them.
        failed_field_ids: fields up to the end of the count that could not be analysed, in sequence order.
        last_sequence: sequence number of the last field counted; 0 when there is none.
        counted_elsewhere: cells left out because an overlapping field, counted before, shows them too.
        degraded: whether any field counted was degraded.
        screen: the leukemia screen over the fields counted.
    """

    differential: Differential
    end: SmearEnd
    fields_counted: int
    failed_field_ids: tuple[str, ...]
    last_sequence: int
    counted_elsewhere: int
    degraded: bool
    screen: ScreenCount


@dataclass(slots=True)
class _Entry:
    """A field that the count knows of.

    `tally` is None until the field is done, `left_out` until it is counted.
    """

    field_id: str
    sequence: int
    image_sha256: str
    tally: FieldTally | None = None
    left_out: tuple[bool, ...] | None = None


@dataclass(slots=True)
class _Sum:
    """What the fields counted so far add up to."""

    cells: list[TalliedCell] = field(default_factory=list)
    fields: int = 0
    failed: list[str] = field(default_factory=list)
    last_sequence: int = 0
    left_out: int = 0
    degraded: bool = False
    identified_leukocytes: int = 0
    screen: ScreenCount = field(default_factory=ScreenCount)


class SmearCount:
    """Counts one smear: `announce` each field as it arrives, `complete` it when it is done, in any order.

    Not for use from several threads at once; the tasks of one event loop need no lock.
    """

    def __init__(
        self,
        target: int,
        *,
        received: Sequence[FieldTally] = (),
        unidentified_limit: float = UNIDENTIFIED_LIMIT,
    ) -> None:
        """Open the count.

        Args:
            target: identified leukocytes to count; 0 counts all fields.
            received: tallies of results that the caller has from earlier streams of this smear, in any order.
            unidentified_limit: share of unidentified cells, 0 to 1, above which the result is flagged.

        Raises:
            InvalidArgument: two of `received` contradict each other.
            ValueError: the target is negative.
        """
        if target < 0:
            raise ValueError(f"a target is 0 or more, is {target}")
        self._target = target
        self._unidentified_limit = unidentified_limit
        self._by_id: dict[str, _Entry] = {}
        self._by_sequence: dict[int, _Entry] = {}
        self._uncounted: list[int] = []  # a heap of sequence numbers
        self._passed = -1
        self._fields_ended = False
        self._sum = _Sum()
        for index, tally in enumerate(received):
            self._hand_back(tally, f"open.received[{index}]")

    @property
    def finished(self) -> bool:
        """Whether the target is reached, or the fields have ended and all are counted."""
        return self._target_reached or (self._fields_ended and not self._uncounted)

    @property
    def identified_leukocytes(self) -> int:
        """Identified leukocytes counted so far."""
        return self._sum.identified_leukocytes

    def announce(self, field_id: str, sequence: int, *, image_sha256: str = "") -> bool:
        """A field has arrived on the stream.

        Returns:
            True for a new field, which is then to be analysed and completed; False for one that is known
            already, which adds nothing.

        Raises:
            InvalidArgument: the sequence number belongs to another field, the field had another sequence
                number or another image before, or the number lies below one announced before on this stream.
            ValueError: the fields have ended.
        """
        if self._fields_ended:
            raise ValueError("a field was announced after the end of the fields")
        if self._is_known(field_id, sequence, image_sha256, "field"):
            return False
        if sequence < self._passed:
            raise InvalidArgument(
                "field.sequence",
                f"{sequence} after {self._passed}",
                "numbers that ascend within a stream",
                reason="SEQUENCE_OUT_OF_ORDER",
            )
        self._register(_Entry(field_id, sequence, image_sha256))
        self._passed = sequence
        self._advance()
        return True

    def complete(self, tally: FieldTally) -> None:
        """An announced field is done.

        Raises:
            ValueError: no such field was announced, or it is done already.
        """
        entry = self._by_id.get(tally.field_id)
        if entry is None or entry.sequence != tally.sequence:
            raise ValueError("a field was completed that was not announced")
        if entry.tally is not None:
            raise ValueError("a field was completed twice")
        entry.tally = tally
        self._advance()

    def end_of_fields(self) -> None:
        """No further field will be announced."""
        self._fields_ended = True
        self._advance()

    def counted_elsewhere(self, field_id: str) -> tuple[bool, ...] | None:
        """For each cell of a field's tally, whether it was left out; None while it is not counted."""
        entry = self._by_id.get(field_id)
        return None if entry is None else entry.left_out

    def result(self) -> SmearOutcome:
        """The smear's result.

        Raises:
            ValueError: the count is not finished.
        """
        if not self.finished:
            raise ValueError("the count is not finished")
        end = SmearEnd.TOO_FEW if self._target else SmearEnd.ALL_COUNTED
        if self._target_reached:
            end = SmearEnd.TARGET_REACHED
        differential = count(self._sum.cells, unidentified_limit=self._unidentified_limit)
        return SmearOutcome(
            differential=differential.with_review_reasons(self._review_reasons(end)),
            end=end,
            fields_counted=self._sum.fields,
            failed_field_ids=tuple(self._sum.failed),
            last_sequence=self._sum.last_sequence,
            counted_elsewhere=self._sum.left_out,
            degraded=self._sum.degraded,
            screen=self._sum.screen,
        )

    @property
    def _target_reached(self) -> bool:
        return 0 < self._target <= self._sum.identified_leukocytes

    def _review_reasons(self, end: SmearEnd) -> Iterator[ReviewReason]:
        if end is SmearEnd.TOO_FEW:
            yield ReviewReason.TOO_FEW_LEUKOCYTES
        if self._sum.degraded:
            yield ReviewReason.DEGRADED
        if self._sum.failed:
            yield ReviewReason.FAILED_FIELDS
        if self._sum.screen.flagged:
            yield ReviewReason.SCREEN_FLAGGED

    def _hand_back(self, tally: FieldTally, path: str) -> None:
        if not self._is_known(tally.field_id, tally.sequence, tally.image_sha256, path):
            self._register(_Entry(tally.field_id, tally.sequence, tally.image_sha256, tally))
        elif self._by_id[tally.field_id].tally != tally:
            raise InvalidArgument(path, "a second, different tally of a field", "one tally of each field")

    def _is_known(self, field_id: str, sequence: int, image_sha256: str, path: str) -> bool:
        entry = self._by_id.get(field_id)
        if entry is None:
            if sequence in self._by_sequence:
                raise InvalidArgument(
                    f"{path}.sequence",
                    f"{sequence}, which another field has",
                    "each number once in a smear",
                    reason="SEQUENCE_REPEATED",
                )
            return False
        if entry.sequence != sequence:
            raise InvalidArgument(
                f"{path}.sequence",
                f"{sequence} for a field that had {entry.sequence}",
                "one sequence number for each field",
                reason="SEQUENCE_CHANGED",
            )
        if entry.image_sha256 and image_sha256 and entry.image_sha256 != image_sha256:
            raise InvalidArgument(
                f"{path}.image",
                "another image than this field had before",
                "one image for each field",
                reason="IMAGE_CHANGED",
            )
        return True

    def _register(self, entry: _Entry) -> None:
        self._by_id[entry.field_id] = entry
        self._by_sequence[entry.sequence] = entry
        heapq.heappush(self._uncounted, entry.sequence)

    def _advance(self) -> None:
        while self._uncounted and not self._target_reached:
            entry = self._by_sequence[self._uncounted[0]]
            may_be_preceded = entry.sequence > self._passed and not self._fields_ended
            if entry.tally is None or may_be_preceded:
                return
            heapq.heappop(self._uncounted)
            entry.left_out = self._add(entry.tally)

    def _add(self, tally: FieldTally) -> tuple[bool, ...]:
        if tally.failed:
            self._sum.failed.append(tally.field_id)
            return ()
        left_out = shown_before(tally.cells, self._sum.cells)
        new = [cell for cell, known in zip(tally.cells, left_out, strict=True) if not known]
        self._sum.cells += new
        self._sum.fields += 1
        self._sum.last_sequence = tally.sequence
        self._sum.left_out += sum(left_out)
        self._sum.degraded |= tally.degraded
        self._sum.screen = self._sum.screen.with_field(tally)
        self._sum.identified_leukocytes += sum(cell.is_identified_leukocyte for cell in new)
        return left_out
