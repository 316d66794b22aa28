"""What a call can fail with, as exceptions."""

from typing import Final, TypeVar

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from hemaserve.broken_calls import is_broken
from hemaserve.results import Failure, Violation

STREAM_BROKEN: Final = "STREAM_BROKEN"
"""Reason of a stream that broke without the service saying why."""

_M = TypeVar("_M", bound=Message)


class HemaServeError(Exception):
    """A call that failed. The subclasses say how; `failure` has everything that the service told.

    `str()` of it is the message for people.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure

    @property
    def code(self) -> str:
        """Canonical gRPC code, e.g. `INVALID_ARGUMENT`."""
        return self.failure.code

    @property
    def reason(self) -> str:
        """Stable UPPER_SNAKE_CASE name to branch on; empty when the service gave none."""
        return self.failure.reason

    @property
    def violations(self) -> tuple[Violation, ...]:
        """The request's fields at fault."""
        return self.failure.violations

    @property
    def retry_after_s(self) -> float | None:
        """When trying again may help, in seconds; None when the service did not say."""
        return self.failure.retry_after_s


class InvalidArgumentError(HemaServeError):
    """The request is wrong, and no retry will make it right; `violations` names the fields."""


class NotFoundError(HemaServeError):
    """What the request names, e.g. a model, does not exist."""


class FailedPreconditionError(HemaServeError):
    """The request is sound but comes at the wrong moment."""


class UnauthenticatedError(HemaServeError):
    """The service wants to know who calls, and took no credentials or not these. It does not say why."""


class PermissionDeniedError(HemaServeError):
    """The service knows who calls, and that it may not do this."""


class ResourceExhaustedError(HemaServeError):
    """The system is busy, the client's quota is used up, or the message is too large; try again after `retry_after_s`
    where that is given."""


class UnavailableError(HemaServeError):
    """The stack cannot be reached, or something that it needs is down."""


class DeadlineExceededError(HemaServeError):
    """No answer came in time."""


class InternalError(HemaServeError):
    """A defect of the service; its log has the details."""


_BY_CODE: Final[dict[str, type[HemaServeError]]] = {
    "INVALID_ARGUMENT": InvalidArgumentError,
    "OUT_OF_RANGE": InvalidArgumentError,
    "NOT_FOUND": NotFoundError,
    "FAILED_PRECONDITION": FailedPreconditionError,
    "UNAUTHENTICATED": UnauthenticatedError,
    "PERMISSION_DENIED": PermissionDeniedError,
    "RESOURCE_EXHAUSTED": ResourceExhaustedError,
    "UNAVAILABLE": UnavailableError,
    "DEADLINE_EXCEEDED": DeadlineExceededError,
    "INTERNAL": InternalError,
}


def error_of(failure: Failure) -> HemaServeError:
    """The exception for a failure, of the class that its code stands for."""
    return _BY_CODE.get(failure.code, HemaServeError)(failure)


def unreachable(address: str) -> UnavailableError:
    """The error for an address at which nothing answers."""
    return UnavailableError(Failure("UNAVAILABLE", "UNREACHABLE", f"no HemaServe answers at {address}"))


def failure_of_status(status: status_pb2.Status) -> Failure:
    """The failure that a `google.rpc.Status` tells of."""
    reason, retry_after_s = "", None
    violations: list[Violation] = []
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            reason = _unpacked(detail, error_details_pb2.ErrorInfo()).reason
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            request = _unpacked(detail, error_details_pb2.BadRequest())
            violations += [Violation(v.field, v.description) for v in request.field_violations]
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            delay = _unpacked(detail, error_details_pb2.RetryInfo()).retry_delay
            retry_after_s = delay.seconds + delay.nanos / 1e9
    try:
        code = code_pb2.Code.Name(status.code)
    except ValueError:
        code = "UNKNOWN"
    return Failure(code, reason, status.message, tuple(violations), retry_after_s)


def failure_of_rpc(error: grpc.aio.AioRpcError) -> Failure:
    """The failure that a broken call tells of, details included where the service sent them."""
    if is_broken(error):
        return Failure("UNAVAILABLE", STREAM_BROKEN, "the call broke")
    try:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]  # it has all that this reads
    except ValueError:  # details that contradict the code: believe the code
        status = None
    if status is not None:
        return failure_of_status(status)
    return Failure(error.code().name, "", error.details() or error.code().name.lower().replace("_", " "))


def _unpacked(detail: any_pb2.Any, message: _M) -> _M:
    detail.Unpack(message)
    return message
