"""The detector, as the gateway calls it."""

from collections.abc import AsyncGenerator, Mapping

import grpc.aio

from hemaserve.errors import InvalidArgument
from hemaserve.v1 import cells_pb2, detector_pb2, detector_pb2_grpc
from services.runtime.caller import call_metadata
from services.runtime.remote import Deadline, remote_errors
from services.runtime.repeating import RetryBudget
from services.runtime.tracing import Calling

_NAME = "detector"
_SERVICE = detector_pb2.DESCRIPTOR.services_by_name["DetectorService"].full_name


class DetectorClient:
    """Calls of the detector; its errors come out as domain errors.

    Attributes:
        budget: for repeating what broke in the middle; gRPC repeats what broke before.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = detector_pb2_grpc.DetectorServiceStub(channel)
        self.budget = RetryBudget()

    async def detect(
        self,
        request: detector_pb2.DetectRequest,
        *,
        deadline: Deadline,
        paths: Mapping[str, str],
    ) -> AsyncGenerator[detector_pb2.DetectResponse]:
        """Its answer to one request, message by message. Closing the generator cancels an unfinished call.

        Args:
            paths: what the caller's own request calls our request's fields, for errors.

        Raises:
            DomainError: as the detector gave it, or because it cannot be reached in time.
        """
        with Calling(f"{_SERVICE}/Detect") as calling:
            metadata = (*call_metadata(), *calling.metadata)
            call = self._stub.Detect(request, timeout=deadline.remaining_s(), metadata=metadata)
            try:
                with self.budget.told(), remote_errors(_NAME):
                    async for response in call:
                        yield response
            except InvalidArgument as error:
                field = paths.get(error.field, error.field)
                raise InvalidArgument(field, error.value, error.allowed, reason=error.reason) from error
            finally:
                call.cancel()

    async def models(self, *, timeout_s: float) -> list[cells_pb2.Model]:
        """The detection models."""
        with Calling(f"{_SERVICE}/ListDetectors") as calling, remote_errors(_NAME):
            answer = await self._stub.ListDetectors(
                detector_pb2.ListDetectorsRequest(), timeout=timeout_s, metadata=calling.metadata
            )
        return list(answer.models)
