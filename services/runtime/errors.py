"""Domain errors as canonical gRPC statuses with `google.rpc` details, and back: the one place that knows both."""

from typing import Final

import grpc
import grpc.aio
from google.protobuf import duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2

from hemaserve.broken_calls import is_broken
from hemaserve.errors import (
    DeadlineExceeded,
    DomainError,
    FailedPrecondition,
    Internal,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from services.runtime.redaction import redact

__all__ = [
    "ERROR_DOMAIN",
    "DeadlineExceeded",
    "DomainError",
    "FailedPrecondition",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "PermissionDenied",
    "ResourceExhausted",
    "Unauthenticated",
    "Unavailable",
    "code_of",
    "from_rpc_error",
    "from_status",
    "to_status",
]

ERROR_DOMAIN: Final = "hemaserve"

_CODES: Final[dict[type[Exception], int]] = {
    InvalidArgument: code_pb2.INVALID_ARGUMENT,
    NotFound: code_pb2.NOT_FOUND,
    FailedPrecondition: code_pb2.FAILED_PRECONDITION,
    Unauthenticated: code_pb2.UNAUTHENTICATED,
    PermissionDenied: code_pb2.PERMISSION_DENIED,
    ResourceExhausted: code_pb2.RESOURCE_EXHAUSTED,
    Unavailable: code_pb2.UNAVAILABLE,
    DeadlineExceeded: code_pb2.DEADLINE_EXCEEDED,
    Internal: code_pb2.INTERNAL,
}
_PLAIN: Final = {
    _CODES[kind]: kind
    for kind in (NotFound, FailedPrecondition, Unauthenticated, PermissionDenied, DeadlineExceeded)
}
"""Errors that have nothing beyond their message and reason."""
_MAX_MESSAGE_CHARS: Final = 1000

CODE_BY_NUMBER: Final = {code.value[0]: code for code in grpc.StatusCode}


def to_status(error: DomainError) -> status_pb2.Status:
    """The status that a caller gets: code, message, and `ErrorInfo`, `BadRequest` or `RetryInfo` as they apply.

    Nothing in it tells whose blood it is, whatever the error says.
    """
    if isinstance(error, InvalidArgument):
        # Not the path, which is ours and which programs read.
        error = InvalidArgument(error.field, redact(error.value), redact(error.allowed), reason=error.reason)
        message = error.message
    else:
        message = redact(error.message)
    code = _number(error)
    status = status_pb2.Status(code=code, message=message[:_MAX_MESSAGE_CHARS])
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=ERROR_DOMAIN))
    if isinstance(error, InvalidArgument):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field, description=f"{error.value}; allowed: {error.allowed}"
        )
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, (ResourceExhausted, Unavailable)) and error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(round(error.retry_after_s * 1000))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    return status


def code_of(error: Exception) -> grpc.StatusCode:
    """The code that an error becomes; INTERNAL for what is none of ours."""
    return CODE_BY_NUMBER[_number(error)]


def _number(error: Exception) -> int:
    return next((_CODES[kind] for kind in type(error).__mro__ if kind in _CODES), code_pb2.INTERNAL)


def from_status(status: status_pb2.Status) -> DomainError:
    """The domain error that `to_status` was given, as far as its kind, message and details go.

    A status of another origin becomes the domain error of its code; its text is dropped unless it is of our domain.
    """
    reason, field, description, retry_after_s = "", "", "", None
    for detail in status.details:
        info, bad, retry = (
            error_details_pb2.ErrorInfo(),
            error_details_pb2.BadRequest(),
            error_details_pb2.RetryInfo(),
        )
        if detail.Unpack(info) and info.domain == ERROR_DOMAIN:
            reason = info.reason
        elif detail.Unpack(bad) and bad.field_violations:
            field, description = bad.field_violations[0].field, bad.field_violations[0].description
        elif detail.Unpack(retry):
            retry_after_s = retry.retry_delay.ToMilliseconds() / 1000
    message = status.message if reason else "the call failed"
    match status.code:
        case code_pb2.INVALID_ARGUMENT if field:
            value, _, allowed = description.partition("; allowed: ")
            return InvalidArgument(field, value, allowed, reason=reason or None)
        case code_pb2.RESOURCE_EXHAUSTED:
            return ResourceExhausted(message, reason=reason or None, retry_after_s=retry_after_s or 1.0)
        case code_pb2.UNAVAILABLE:
            return Unavailable(message, reason=reason or None, retry_after_s=retry_after_s or 1.0)
        case _:
            return _PLAIN.get(status.code, Internal)(message, reason=reason or None)


def from_rpc_error(error: grpc.aio.AioRpcError, service: str) -> DomainError:
    """The domain error behind a failed call of ours to `service`."""
    for key, value in error.trailing_metadata():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            return from_status(status_pb2.Status.FromString(value))
    # Cancelled by the other side, which ended: a call that we cancel ourselves raises no error of gRPC's.
    if is_broken(error) or error.code() is grpc.StatusCode.CANCELLED:
        return Unavailable(f"the call of the {service} broke", reason="DEPENDENCY_UNAVAILABLE")
    match error.code():
        case grpc.StatusCode.UNAVAILABLE:
            return Unavailable(f"the {service} is not reachable", reason="DEPENDENCY_UNAVAILABLE")
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceeded(f"the deadline passed while waiting for the {service}")
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return ResourceExhausted(f"the {service} has no room for this at the moment")
        case _:
            return Internal(f"the {service} failed")
