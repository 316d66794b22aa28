import grpc
import grpc.aio
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from hemaserve import errors
from services.runtime.errors import ERROR_DOMAIN, from_rpc_error, from_status, to_status

texts = st.text(min_size=1, max_size=40).filter(lambda text: "; allowed: " not in text)


@given(field=texts, value=texts, allowed=texts)
def test_an_invalid_argument_survives_the_way_to_a_status_and_back(field: str, value: str, allowed: str):
    sent = errors.InvalidArgument(field, value, allowed, reason="SOME_REASON")

    got = from_status(to_status(sent))

    assert isinstance(got, errors.InvalidArgument)
    assert (got.field, got.value, got.allowed, got.reason) == (field, value, allowed, "SOME_REASON")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFound("no such model"), code_pb2.NOT_FOUND),
        (errors.FailedPrecondition("open first"), code_pb2.FAILED_PRECONDITION),
        (errors.Unauthenticated("who?"), code_pb2.UNAUTHENTICATED),
        (errors.PermissionDenied("not you"), code_pb2.PERMISSION_DENIED),
        (errors.ResourceExhausted("full", retry_after_s=2.5), code_pb2.RESOURCE_EXHAUSTED),
        (errors.Unavailable("gone", retry_after_s=0.25), code_pb2.UNAVAILABLE),
        (errors.DeadlineExceeded("late"), code_pb2.DEADLINE_EXCEEDED),
        (errors.Internal("broken"), code_pb2.INTERNAL),
        (errors.DomainError("of no kind"), code_pb2.INTERNAL),
    ],
)
def test_each_error_has_its_canonical_code_and_keeps_its_message_and_reason(
    error: errors.DomainError, code: int
):
    status = to_status(error)
    back = from_status(status)

    assert status.code == code
    assert (back.message, back.reason) == (error.message, error.reason)
    assert getattr(back, "retry_after_s", None) == getattr(error, "retry_after_s", None)


def test_a_status_of_another_origin_loses_its_text():
    info = error_details_pb2.ErrorInfo(reason="X", domain="elsewhere.example")
    status = status_pb2.Status(code=code_pb2.UNAVAILABLE, message="connect to 10.1.2.3 failed")
    status.details.add().Pack(info)

    assert "10.1.2.3" not in from_status(status).message


def test_every_status_names_its_reason_and_our_domain():
    info = error_details_pb2.ErrorInfo()
    to_status(errors.NotFound("no such model")).details[0].Unpack(info)

    assert (info.reason, info.domain) == ("NOT_FOUND", ERROR_DOMAIN)


def test_a_long_message_is_cut():
    assert len(to_status(errors.NotFound("x" * 100_000)).message) <= 1000


def test_codes_are_those_of_grpc():
    assert {code.value[0] for code in grpc.StatusCode} >= {to_status(errors.Internal("x")).code}


@pytest.mark.parametrize(
    ("code", "details", "kind"),
    [
        # What grpc.aio makes of a write that meets the call's end: nobody knows why it ended.
        (grpc.StatusCode.INTERNAL, "Internal error from Core", errors.Unavailable),
        # What gRPC says itself: a service of ours would give a reason.
        (grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2", errors.Unavailable),
        (grpc.StatusCode.UNKNOWN, "Stream removed (Failed parsing HTTP/2)", errors.Unavailable),
        (grpc.StatusCode.UNAVAILABLE, "connect to 10.1.2.3 failed", errors.Unavailable),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "", errors.DeadlineExceeded),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "", errors.ResourceExhausted),
        (grpc.StatusCode.UNIMPLEMENTED, "", errors.Internal),
    ],
)
def test_a_failed_call_without_details_becomes_the_error_of_its_code(code, details, kind):
    error = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=details)

    got = from_rpc_error(error, "detector")

    assert type(got) is kind
    assert "detector" in got.message
    assert "10.1.2.3" not in got.message
