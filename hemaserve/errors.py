"""What can go wrong, in the domain's words. Knows nothing of gRPC: services map these to status codes in one place."""


class DomainError(Exception):
    """A failure that may be told to the caller.

    `message` is shown to clients, so it never carries an exception's text, a path or anything about a patient.
    `reason` is a stable UPPER_SNAKE_CASE name that programs may branch on.
    """

    reason = "INTERNAL"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if reason is not None:
            self.reason = reason


class InvalidArgument(DomainError):
    """The caller sent something that no retry will make right.

    Args:
        field: path of the offending field in the request, e.g. `field.image`.
        value: what was found there, shortened and safe to show.
        allowed: what would have been accepted.
    """

    reason = "INVALID_ARGUMENT"

    def __init__(self, field: str, value: str, allowed: str, *, reason: str | None = None) -> None:
        super().__init__(f"{field}: {value}; allowed: {allowed}", reason=reason)
        self.field = field
        self.value = value
        self.allowed = allowed


class NotFound(DomainError):
    """The thing that the caller named does not exist here."""

    reason = "NOT_FOUND"


class FailedPrecondition(DomainError):
    """The request is sound but comes at the wrong moment, e.g. a field before the stream was opened."""

    reason = "FAILED_PRECONDITION"


class Unauthenticated(DomainError):
    """Who calls is not known. Why not is never told: a stranger could learn from it."""

    reason = "UNAUTHENTICATED"


class PermissionDenied(DomainError):
    """Who calls is known, and may not do this."""

    reason = "PERMISSION_DENIED"


class ResourceExhausted(DomainError):
    """A queue is full. The caller may try again after `retry_after_s` seconds."""

    reason = "QUEUE_FULL"

    def __init__(self, message: str, *, reason: str | None = None, retry_after_s: float = 1.0) -> None:
        super().__init__(message, reason=reason)
        self.retry_after_s = retry_after_s


class Unavailable(DomainError):
    """Something that this service needs is not there at the moment; trying again after `retry_after_s` may help."""

    reason = "UNAVAILABLE"

    def __init__(self, message: str, *, reason: str | None = None, retry_after_s: float | None = 1.0) -> None:
        super().__init__(message, reason=reason)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(DomainError):
    """The caller's deadline passed before the work was done."""

    reason = "DEADLINE_EXCEEDED"


class Internal(DomainError):
    """A defect of ours. The details are in the service's log, never in the answer."""

    reason = "INTERNAL"
