"""One smear: fields are analysed side by side, answered as they finish, and counted in sequence."""

import asyncio
import math
import time
from collections.abc import AsyncIterable, Awaitable, Callable
from dataclasses import dataclass, replace

from hemaserve.errors import DeadlineExceeded, DomainError, Internal, InvalidArgument, ResourceExhausted
from hemaserve.smear_count import SmearCount, SmearEnd, SmearOutcome
from hemaserve.tally import FieldTally
from hemaserve.v1 import cells_pb2
from services.gateway.counting import tally_of
from services.gateway.metrics import GatewayMetrics
from services.gateway.orders import FieldOrder, RefusedField, SmearOrder
from services.gateway.pipeline import FieldAnalysis, FieldPipeline
from services.gateway.provenance import merge_provenances
from services.runtime.admission import Admission
from services.runtime.remote import Deadline
from services.runtime.span_signals import FIELD
from services.runtime.tasks import task_group
from services.runtime.tracing import Within

_FIELD_FAULTS = (InvalidArgument, DeadlineExceeded, Internal)
"""Errors that one field is to blame for, or may be. All others concern every field: they end the stream, so that the
caller sends what is missing again once the cause is gone, and no field counts as failed for it."""


@dataclass(frozen=True, slots=True)
class SmearLimits:
    """What one smear may take.

    Attributes:
        fields_in_flight: fields held and analysed at one time.
        field_timeout_s: time that one field gets, in seconds.
        unidentified_limit: share of unidentified cells above which the result is flagged.
    """

    fields_in_flight: int
    field_timeout_s: float
    unidentified_limit: float


@dataclass(frozen=True, slots=True)
class DoneField:
    """A field that is done.

    Attributes:
        tally: what it adds to the smear's count.
        analysis: what was found in it; None when it could not be analysed.
        error: why it could not be analysed.
        counted_elsewhere: for each cell of the tally, whether it was left out of the count; empty while the field
            waits for others to be counted before it.
    """

    tally: FieldTally
    analysis: FieldAnalysis | None = None
    error: DomainError | None = None
    counted_elsewhere: tuple[bool, ...] = ()


@dataclass(frozen=True, slots=True)
class SmearReport:
    """A smear that is done.

    Attributes:
        outcome: what was counted.
        tallies: the fields up to the end of the count, failed ones among them, in sequence order.
        provenance: where the results of the fields that were analysed on this stream came from.
    """

    outcome: SmearOutcome
    tallies: tuple[FieldTally, ...]
    provenance: cells_pb2.Provenance


class SmearAnalysis:
    """Analyses one smear on one stream. Keeps nothing beyond it."""

    def __init__(
        self,
        order: SmearOrder,
        pipeline: FieldPipeline,
        fields: Admission,
        limits: SmearLimits,
        *,
        deadline: Deadline,
        metrics: GatewayMetrics | None = None,
    ) -> None:
        """Open the smear.

        Args:
            fields: says whose turn it is, of the fields of all smears and calls.
            deadline: the stream's.
            metrics: where its figures go.

        Raises:
            InvalidArgument: tallies that were handed back contradict each other.
        """
        self._order = order
        self._pipeline = pipeline
        self._fields = fields
        self._limits = limits
        self._deadline = deadline
        self._metrics = metrics or GatewayMetrics()
        self._last_arrival: float | None = None
        self._count = SmearCount(
            order.target, received=order.received, unidentified_limit=limits.unidentified_limit
        )
        self._slots = asyncio.Semaphore(limits.fields_in_flight)
        self._done: asyncio.Queue[DoneField | None] = asyncio.Queue()
        self._tallies = {tally.sequence: tally for tally in order.received}
        self._provenances: dict[int, cells_pb2.Provenance] = {}

    async def run(
        self,
        fields: AsyncIterable[FieldOrder | RefusedField],
        send: Callable[[DoneField], Awaitable[None]],
    ) -> SmearReport:
        """Analyse `fields` until they end or the target is reached; what is still in progress then is cancelled.

        A field keeps its slot until its result is sent, and no field is read without a free slot: a caller that does
        not read its results is not read either. Nor is one read while one before it waits for its turn.

        Args:
            send: takes each result as soon as its field is done; one call at a time.

        Raises:
            InvalidArgument: a field's sequence number or id contradicts the fields before it.
            DomainError: something that every field needs is not there.
        """
        async with task_group() as group:
            work = group.create_task(self._analyze_all(fields))
            while (done := await self._done.get()) is not None:
                await send(self._note(done))
                self._slots.release()
                if self._count.finished:
                    break
            work.cancel()
        report = self._report()
        self._metrics.smear_done(
            report.outcome.end,
            report.outcome.differential.review_reasons,
            self._order.priority,
            None if self._last_arrival is None else time.monotonic() - self._last_arrival,
        )
        return report

    async def _analyze_all(self, fields: AsyncIterable[FieldOrder | RefusedField]) -> None:
        async with task_group() as group:
            await self._slots.acquire()
            async for field in fields:
                self._last_arrival = time.monotonic()
                digest = await asyncio.to_thread(field.image_sha256)
                is_new = self._count.announce(field.field_id, field.sequence, image_sha256=digest)
                if self._count.finished:
                    self._done.put_nowait(None)
                    return
                if is_new:
                    has_its_turn = asyncio.Event()
                    group.create_task(self._analyze(field, digest, has_its_turn))
                    await has_its_turn.wait()
                    await self._slots.acquire()
        self._count.end_of_fields()
        self._done.put_nowait(None)

    async def _analyze(
        self, field: FieldOrder | RefusedField, digest: str, has_its_turn: asyncio.Event
    ) -> None:
        try:
            with Within(FIELD):
                done = await self._done_field(field, has_its_turn)
        except _FIELD_FAULTS as error:
            tally = FieldTally(field.field_id, field.sequence, failed=True, image_sha256=digest)
            done = DoneField(tally, error=error)
        finally:
            has_its_turn.set()
        self._done.put_nowait(done)

    async def _done_field(self, field: FieldOrder | RefusedField, has_its_turn: asyncio.Event) -> DoneField:
        if isinstance(field, RefusedField):
            raise field.error
        async with self._fields.admitted(deadline=self._deadline, patient=True):
            has_its_turn.set()
            analysis = await self._analysis(field)
        return DoneField(tally_of(field, analysis), analysis=analysis)

    async def _analysis(self, field: FieldOrder) -> FieldAnalysis:
        deadline = Deadline(min(self._limits.field_timeout_s, self._deadline.remaining_s()))
        while True:
            try:
                return await self._pipeline.analyze(field, self._order.options, deadline=deadline)
            except ResourceExhausted as error:
                # The field keeps its slot, so the stream is read more slowly until there is room again.
                if error.retry_after_s >= deadline.remaining_s():
                    raise
                await asyncio.sleep(error.retry_after_s)

    def _note(self, done: DoneField) -> DoneField:
        tally = done.tally
        self._count.complete(tally)
        self._metrics.smear_field_done(failed=tally.failed)
        self._tallies[tally.sequence] = tally
        if done.analysis is not None:
            self._provenances[tally.sequence] = done.analysis.provenance
        return replace(done, counted_elsewhere=self._count.counted_elsewhere(tally.field_id) or ())

    def _report(self) -> SmearReport:
        outcome = self._count.result()
        upto = outcome.last_sequence if outcome.end is SmearEnd.TARGET_REACHED else math.inf
        sequences = sorted(sequence for sequence in self._tallies if sequence <= upto)
        return SmearReport(
            outcome=outcome,
            tallies=tuple(self._tallies[sequence] for sequence in sequences),
            provenance=merge_provenances(
                self._provenances[sequence] for sequence in sequences if sequence in self._provenances
            ),
        )
