"""The classifier, as the gateway calls it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from typing import Any, Final, Generic, TypeVar

import grpc.aio
from google.protobuf.message import Message
from google.rpc import status_pb2

from hemaserve.errors import DomainError, Internal, InvalidArgument
from hemaserve.v1 import cells_pb2, classifier_pb2, classifier_pb2_grpc
from services.runtime.caller import call_metadata
from services.runtime.errors import from_status
from services.runtime.remote import Deadline, remote_errors
from services.runtime.repeating import RetryBudget
from services.runtime.tracing import Calling

_NAME = "classifier"
_SERVICE = classifier_pb2.DESCRIPTOR.services_by_name["ClassifierService"].full_name

_Response = TypeVar("_Response", classifier_pb2.ClassifyResponse, classifier_pb2.ScreenCellsResponse)

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
        DomainError: it could not say anything, see `_failure`.
    """
    if cell.WhichOneof("outcome") == "classification":
        return cell.classification
    raise _failure(cell.error)


def finding_of(cell: classifier_pb2.ScreenedCell) -> cells_pb2.ScreenFinding:
    """What the screen said of one cell.

    Raises:
        DomainError: it could not say anything, see `_failure`.
    """
    if cell.WhichOneof("outcome") == "finding":
        return cell.finding
    raise _failure(cell.error)


def _failure(error: status_pb2.Status) -> DomainError:
    """Why a cell got no answer. Never InvalidArgument: the crop is ours and not the caller's, who can do nothing
    about it."""
    found = from_status(error)
    return _refused_crop() if isinstance(found, InvalidArgument) else found


def _refused_crop() -> Internal:
    return Internal("the classifier refused a crop")


class CellStream(Generic[_Response]):
    """One open call of the classifier: cells in, and their answers out in the same order. One task sends, one reads.

    Args:
        call: the call.
        request: makes a request of some cells.
        paths: what the caller's own request calls our request's fields, for errors.
        budget: told how the call ends.
    """

    def __init__(
        self,
        call: Any,
        request: Callable[[Sequence[classifier_pb2.CellToClassify]], Message],
        paths: Mapping[str, str],
        budget: RetryBudget,
    ) -> None:
        self._call = call
        self._request = request
        self._paths = paths
        self._budget = budget
        self._unanswered: deque[str] = deque()

    async def send(self, cells: Sequence[classifier_pb2.CellToClassify]) -> None:
        """Send cells, in requests within the contract's limits; waits while the classifier is behind."""
        for batch in batches(cells):
            self._unanswered.extend(cell.crop.cell_id for cell in batch)
            await self._write(self._request(batch))

    async def finish(self) -> None:
        """Say that no cells follow."""
        with self._errors():
            await self._call.done_writing()

    async def answers(self) -> AsyncIterator[_Response]:
        """Responses until the call ends.

        Raises:
            DomainError: as the classifier gave it, or because it cannot be reached in time.
            Internal: it left cells out, or answered for others than it was sent.
        """
        with self._budget.told(), self._errors():
            async for response in self._call:
                for cell in response.cells:
                    self._check_off(cell.cell_id)
                yield response
        if self._unanswered:
            raise Internal("the classifier left cells unanswered")

    def _check_off(self, cell_id: str) -> None:
        if not self._unanswered or self._unanswered.popleft() != cell_id:
            raise Internal("the classifier answered for another cell than it was asked")

    async def _write(self, request: Message) -> None:
        try:
            with self._errors():
                await self._call.write(request)
        except asyncio.InvalidStateError:
            # The call has ended early; whoever reads the answers learns why.
            return

    def _errors(self) -> AbstractContextManager[None]:
        return _errors(self._paths)


@contextmanager
def _errors(paths: Mapping[str, str]) -> Iterator[None]:
    """Turns a call's errors into domain errors about the caller's own request."""
    try:
        with remote_errors(_NAME):
            yield
    except InvalidArgument as error:
        field = paths.get(error.field, error.field)
        raise InvalidArgument(field, error.value, error.allowed, reason=error.reason) from error


class ClassifierClient:
    """Calls of the classifier; its errors come out as domain errors.

    Attributes:
        budget: for repeating what broke in the middle; gRPC repeats what broke before.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
        self.budget = RetryBudget()

    @asynccontextmanager
    async def stream(
        self,
        *,
        model: str,
        site_profile: str,
        deadline: Deadline,
        paths: Mapping[str, str],
        shadow_model: str = "",
    ) -> AsyncIterator[CellStream[classifier_pb2.ClassifyResponse]]:
        """Open a Classify call. On leaving the block an unfinished call is cancelled.

        Args:
            site_profile: name of the profile that corrects the cells' colours; empty for none.
            paths: what the caller's own request calls our request's fields, for errors.
            shadow_model: model whose answers are compared, and not returned; empty for none.
        """

        def request(cells: Sequence[classifier_pb2.CellToClassify]) -> classifier_pb2.ClassifyRequest:
            return classifier_pb2.ClassifyRequest(
                model=model, cells=cells, site_profile=site_profile, shadow_model=shadow_model
            )

        with Calling(f"{_SERVICE}/Classify") as calling:
            metadata = (*call_metadata(), *calling.metadata)
            call = self._stub.Classify(timeout=deadline.remaining_s(), metadata=metadata)
            try:
                yield CellStream(call, request, paths, self.budget)
            finally:
                call.cancel()

    @asynccontextmanager
    async def screen_stream(
        self, *, deadline: Deadline
    ) -> AsyncIterator[CellStream[classifier_pb2.ScreenCellsResponse]]:
        """Open a ScreenCells call. On leaving the block an unfinished call is cancelled."""

        def request(cells: Sequence[classifier_pb2.CellToClassify]) -> classifier_pb2.ScreenCellsRequest:
            return classifier_pb2.ScreenCellsRequest(cells=cells)

        with Calling(f"{_SERVICE}/ScreenCells") as calling:
            metadata = (*call_metadata(), *calling.metadata)
            call = self._stub.ScreenCells(timeout=deadline.remaining_s(), metadata=metadata)
            try:
                yield CellStream(call, request, {}, self.budget)
            finally:
                call.cancel()

    async def screen_field(
        self, image: bytes, *, deadline: Deadline, paths: Mapping[str, str]
    ) -> classifier_pb2.ScreenFieldResponse:
        """What the screen says of a field.

        Args:
            paths: what the caller's own request calls our request's fields, for errors.

        Raises:
            FailedPrecondition: the screen's network is not loaded.
            DomainError: as the classifier gave it, or because it cannot be reached in time.
        """
        with Calling(f"{_SERVICE}/ScreenField") as calling, _errors(paths):
            return await self._stub.ScreenField(
                classifier_pb2.ScreenFieldRequest(image=image),
                timeout=deadline.remaining_s(),
                metadata=(*call_metadata(), *calling.metadata),
            )

    async def explain(
        self, request: classifier_pb2.ExplainRequest, *, deadline: Deadline
    ) -> classifier_pb2.ExplainResponse:
        """What in a crop of ours speaks for a type.

        Raises:
            FailedPrecondition: the model's answers cannot be explained.
            InvalidArgument: the model cannot answer the type, or there is no such site profile.
            DomainError: as the classifier gave it, or because it cannot be reached in time.
        """
        try:
            with Calling(f"{_SERVICE}/Explain") as calling, remote_errors(_NAME):
                metadata = (*call_metadata(), *calling.metadata)
                return await self._stub.Explain(request, timeout=deadline.remaining_s(), metadata=metadata)
        except InvalidArgument as error:
            if error.field.startswith("cell."):
                raise _refused_crop() from error
            raise

    async def wake(self, model: str, *, timeout_s: float) -> None:
        """Have a classification model loaded that is not yet. Nothing is classified.

        Raises:
            NotFound: there is no such model.
        """
        asked = iter([classifier_pb2.ClassifyRequest(model=model)])
        with Calling(f"{_SERVICE}/Classify") as calling, remote_errors(_NAME):
            await self._stub.Classify(asked, timeout=timeout_s, metadata=calling.metadata).read()

    async def wake_screen(self, *, timeout_s: float) -> None:
        """Have the network that screens cells loaded when it is not yet. Nothing is screened.

        Raises:
            FailedPrecondition: there is none.
        """
        asked = iter([classifier_pb2.ScreenCellsRequest()])
        with Calling(f"{_SERVICE}/ScreenCells") as calling, remote_errors(_NAME):
            await self._stub.ScreenCells(asked, timeout=timeout_s, metadata=calling.metadata).read()

    async def models(self, *, timeout_s: float) -> list[cells_pb2.Model]:
        """The classification and screening models."""
        with Calling(f"{_SERVICE}/ListClassifiers") as calling, remote_errors(_NAME):
            answer = await self._stub.ListClassifiers(
                classifier_pb2.ListClassifiersRequest(), timeout=timeout_s, metadata=calling.metadata
            )
        return list(answer.models)

    async def site_profiles(self, *, timeout_s: float) -> list[cells_pb2.SiteProfile]:
        """The site profiles, by name."""
        with Calling(f"{_SERVICE}/ListClassifierSiteProfiles") as calling, remote_errors(_NAME):
            answer = await self._stub.ListClassifierSiteProfiles(
                classifier_pb2.ListClassifierSiteProfilesRequest(),
                timeout=timeout_s,
                metadata=calling.metadata,
            )
        return list(answer.site_profiles)
