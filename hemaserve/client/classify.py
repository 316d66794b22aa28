"""Located cells in, answers out, with several requests on their way at a time."""

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import grpc

from hemaserve.client import translate
from hemaserve.client.backoff import Backoff
from hemaserve.client.integrity import check_cells
from hemaserve.client.resuming import ResumingStream
from hemaserve.results import NamedCell
from hemaserve.v1 import gateway_pb2

Call = grpc.aio.StreamStreamCall[gateway_pb2.ClassifyCellsRequest, gateway_pb2.ClassifyCellsResponse]

BATCH_CELLS: Final = 32
BATCH_BYTES: Final = 2 * 2**20
"""A request is sent when it has this many cells or bytes: below gRPC's default limit, many to keep all hops busy."""


class CellStream(
    ResumingStream[gateway_pb2.ClassifyCellsRequest, gateway_pb2.ClassifyCellsResponse, list[NamedCell]]
):
    """Sends requests of cells and collects the answers in the cells' order.

    Args:
        on_result: told each answer, once, in order.
    """

    def __init__(
        self,
        open_call: Callable[[], Call],
        requests: AsyncIterator[gateway_pb2.ClassifyCellsRequest],
        *,
        on_result: Callable[[NamedCell], None],
        backoff: Backoff,
        window: int,
    ) -> None:
        super().__init__(open_call, requests, backoff=backoff, window=window)
        self._on_result = on_result
        self._unanswered: deque[gateway_pb2.ClassifyCellsRequest] = deque()
        self._answers: list[NamedCell] = []

    def opening(self) -> Sequence[gateway_pb2.ClassifyCellsRequest]:
        return []

    def unanswered(self) -> Sequence[gateway_pb2.ClassifyCellsRequest]:
        return list(self._unanswered)

    def remember(self, request: gateway_pb2.ClassifyCellsRequest) -> None:
        self._unanswered.append(request)

    def take(self, response: gateway_pb2.ClassifyCellsResponse) -> None:
        # Responses come in the order of the requests.
        sent = self._unanswered[0].cells if self._unanswered else ()
        check_cells((cell.cell_id for cell in sent), (cell.cell_id for cell in response.cells))
        self._unanswered.popleft()
        self.answered()
        for answer in translate.named_cells(response):
            self._answers.append(answer)
            self._on_result(answer)

    def result_at_end(self) -> list[NamedCell] | None:
        return self._answers if self.exhausted and not self._unanswered else None


async def batches(
    cells: AsyncIterator[gateway_pb2.LocatedCell],
) -> AsyncIterator[list[gateway_pb2.LocatedCell]]:
    """The cells in groups of at most `BATCH_CELLS`, each group at most `BATCH_BYTES` unless it is a single cell."""
    group: list[gateway_pb2.LocatedCell] = []
    size = 0
    async for cell in cells:
        if group and (len(group) == BATCH_CELLS or size + len(cell.image) > BATCH_BYTES):
            yield group
            group, size = [], 0
        group.append(cell)
        size += len(cell.image)
    if group:
        yield group
