"""Triton's statuses as domain errors."""

from __future__ import annotations

import pytest

from hemaserve import errors
from services.triton.errors import domain_error


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        ("StatusCode.UNAVAILABLE", "failed to connect to all addresses", errors.Unavailable),
        ("StatusCode.UNAVAILABLE", "[request id: 1] Exceeds maximum queue size", errors.ResourceExhausted),
        ("StatusCode.UNAVAILABLE", "Request timeout expired", errors.DeadlineExceeded),
        ("StatusCode.DEADLINE_EXCEEDED", "Deadline Exceeded", errors.DeadlineExceeded),
        ("StatusCode.NOT_FOUND", "Request for unknown model: 'x' is not found", errors.NotFound),
        ("StatusCode.INTERNAL", "Stub process 'vit_0_1' is not healthy.", errors.Unavailable),
        ("StatusCode.CANCELLED", "cancelled", errors.Unavailable),
        ("StatusCode.UNKNOWN", "Stream removed (Failed parsing HTTP/2)", errors.Unavailable),
        ("StatusCode.INVALID_ARGUMENT", "unexpected shape for input 'crops'", errors.Internal),
        ("StatusCode.INTERNAL", "Exception in /home/me/model.py", errors.Internal),
        ("", "", errors.Internal),
    ],
)
def test_a_status_is_one_domain_error_and_its_words_stay_here(status, message, kind) -> None:
    error = domain_error(status, message)
    assert type(error) is kind
    assert not message or message not in error.message
