"""The classifier, as the gateway calls it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc.aio

from hemaserve.errors import Internal, InvalidArgument
from hemaserve.results import Priority
from hemaserve.v1 import cells_pb2, classifier_pb2, classifier_pb2_grpc
from services.gateway.downstream import call_metadata
from services.runtime.errors import from_status
from services.runtime.remote import Deadline, remote_errors

_NAME = "classifier"

MAX_CELLS: Final = 256
"""Cells in one ClassifyRequest, by its contract."""

MAX_BYTES: Final = 3 * 2**20
"""Pixels in one ClassifyRequest; leaves room below gRPC's 4 MiB for everything else."""


def batches(cells: Iterable[classifier_pb2.CellToClassify]) -> Iterator[list[classifier_pb2.CellToClassify]]:
    """The cells in as few requests as the contract's limits allow, in order."""
    batch: list[classifier_pb2.CellToClassify] = []
    size = 0
    for cell in cells:
        if batch and (len(batch) == MAX_CELLS or size + len(cell.crop.data) > MAX_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(cell)
        size += len(cell.crop.data)
    if batch:
        yield batch


def classification_of(cell: classifier_pb2.ClassifiedCell) -> cells_pb2.Classification:
    """What the classifier said of one cell.

    Raises:
        DomainError: it could not say anything. Never InvalidArgument: the crop is ours and not the caller's, who can do
            nothing about it.
    """
    if cell.WhichOneof("outcome") == "classification":
        return cell.classification
    error = from_status(cell.error)
    raise Internal("the classifier refused a crop") if isinstance(error, InvalidArgument) else error


class ClassificationStream:
    """One open Classify call: cells in, and their answers out in the same order. One task sends, one reads."""

    def __init__(self, call: Any, model: str) -> None:
        self._call = call
        self._model = model
        self._unanswered: deque[tuple[str, str]] = deque()

    async def send(self, cells: Sequence[classifier_pb2.CellToClassify]) -> None:
        """Send cells, in requests within the contract's limits; waits while the classifier is behind."""
        for batch in batches(cells):
            self._unanswered.extend((cell.field_id, cell.crop.cell_id) for cell in batch)
            await self._write(classifier_pb2.ClassifyRequest(model=self._model, cells=batch))

    async def finish(self) -> None:
        """Say that no cells follow."""
        with remote_errors(_NAME):
            await self._call.done_writing()

    async def answers(self) -> AsyncIterator[classifier_pb2.ClassifyResponse]:
        """Responses until the call ends.

        Raises:
            DomainError: as the classifier gave it, or because it cannot be reached in time.
            Internal: it left cells out, or answered for others than it was sent.
        """
        with remote_errors(_NAME):
            async for response in self._call:
                for cell in response.cells:
                    self._check_off(cell)
                yield response
        if self._unanswered:
            raise Internal("the classifier left cells unanswered")

    def _check_off(self, cell: classifier_pb2.ClassifiedCell) -> None:
        if not self._unanswered or self._unanswered.popleft() != (cell.field_id, cell.cell_id):
            raise Internal("the classifier answered for another cell than it was asked")

    async def _write(self, request: classifier_pb2.ClassifyRequest) -> None:
        try:
            with remote_errors(_NAME):
                await self._call.write(request)
        except asyncio.InvalidStateError:
            # The call has ended early; whoever reads the answers learns why.
            return


class ClassifierClient:
    """Calls of the classifier; its errors come out as domain errors."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = classifier_pb2_grpc.ClassifierServiceStub(channel)

    @asynccontextmanager
    async def stream(
        self, *, model: str, deadline: Deadline, priority: Priority
    ) -> AsyncIterator[ClassificationStream]:
        """Open a Classify call. On leaving the block an unfinished call is cancelled."""
        call = self._stub.Classify(timeout=deadline.remaining_s(), metadata=call_metadata(priority))
        try:
            yield ClassificationStream(call, model)
        finally:
            call.cancel()

    async def models(self, *, timeout_s: float) -> list[cells_pb2.Model]:
        """The classification models."""
        with remote_errors(_NAME):
            answer = await self._stub.ListClassifiers(
                classifier_pb2.ListClassifiersRequest(), timeout=timeout_s
            )
        return list(answer.models)
