"""A smear's stream, resumed when it breaks: no field is lost and none is counted twice."""

from collections.abc import AsyncIterator, Callable, Sequence

import grpc

from hemaserve.client import translate
from hemaserve.client.backoff import Backoff
from hemaserve.client.integrity import check_image
from hemaserve.client.resuming import ResumingStream
from hemaserve.results import FieldResult, SmearResult
from hemaserve.v1 import gateway_pb2

Call = grpc.aio.StreamStreamCall[gateway_pb2.AnalyzeSmearRequest, gateway_pb2.AnalyzeSmearResponse]


class SmearStream(
    ResumingStream[gateway_pb2.AnalyzeSmearRequest, gateway_pb2.AnalyzeSmearResponse, SmearResult]
):
    """Sends a smear's fields and collects their results.

    Each result acknowledges its field; one that is about another image breaks the stream instead. A new stream hands
    back the tallies of the results received, so that those fields are not sent again; the others are, with the same ids
    and sequence numbers.

    Args:
        opening: the first message, without `received`.
        fields: with ids of their own.
        on_result: told each field's result, once, in the order in which they come.
    """

    def __init__(
        self,
        open_call: Callable[[], Call],
        opening: gateway_pb2.OpenSmear,
        fields: AsyncIterator[gateway_pb2.Field],
        *,
        on_result: Callable[[FieldResult], None],
        backoff: Backoff,
        window: int,
    ) -> None:
        super().__init__(open_call, _requests(fields), backoff=backoff, window=window)
        self._opening = opening
        self._on_result = on_result
        self._unacknowledged: dict[str, gateway_pb2.AnalyzeSmearRequest] = {}
        self._tallies: list[gateway_pb2.FieldTally] = []
        self._results: list[FieldResult] = []

    def opening(self) -> Sequence[gateway_pb2.AnalyzeSmearRequest]:
        request = gateway_pb2.AnalyzeSmearRequest(open=self._opening)
        request.open.received.extend(self._tallies)
        return [request]

    def unanswered(self) -> Sequence[gateway_pb2.AnalyzeSmearRequest]:
        return list(self._unacknowledged.values())

    def remember(self, request: gateway_pb2.AnalyzeSmearRequest) -> None:
        self._unacknowledged[request.field.field_id] = request

    def take(self, response: gateway_pb2.AnalyzeSmearResponse) -> SmearResult | None:
        match response.WhichOneof("message"):
            case "field_result":
                self._acknowledge(response.field_result)
            case "smear_result":
                return translate.smear_result(response.smear_result, self._results)
        return None

    def result_at_end(self) -> None:
        return None

    def _acknowledge(self, message: gateway_pb2.FieldResult) -> None:
        request = self._unacknowledged.get(message.field_id)
        if request is None:
            return  # a repeat: counted already
        check_image(request.field.image, message.image_sha256)
        del self._unacknowledged[message.field_id]
        self._tallies.append(message.tally)
        self.answered()
        result = translate.field_result(message)
        self._results.append(result)
        self._on_result(result)


async def _requests(
    fields: AsyncIterator[gateway_pb2.Field],
) -> AsyncIterator[gateway_pb2.AnalyzeSmearRequest]:
    async for field in fields:
        yield gateway_pb2.AnalyzeSmearRequest(field=field)
