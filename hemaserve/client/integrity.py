"""Whether an answer is about what was asked: without TLS, a fault on the way could change either unnoticed by gRPC."""

import hashlib
from collections.abc import Iterable
from typing import Final

from hemaserve.client.errors import UnavailableError
from hemaserve.results import Failure

OTHER_ANSWER: Final = "OTHER_ANSWER"
"""Reason of an answer that is about something else than what was asked; asking again helps."""


def check_image(image: bytes, sha256: str) -> None:
    """Check that a result is about an image, by the digest that the service saw; empty where it saw none.

    Raises:
        UnavailableError: it is not.
    """
    if sha256 and hashlib.sha256(image).hexdigest() != sha256:
        raise _other("an image")


def check_cells(sent: Iterable[str], answered: Iterable[str]) -> None:
    """Check that answers are about these cells, in this order.

    Raises:
        UnavailableError: they are not.
    """
    if list(sent) != list(answered):
        raise _other("cells")


def _other(what: str) -> UnavailableError:
    return UnavailableError(
        Failure("UNAVAILABLE", OTHER_ANSWER, f"an answer came about {what} other than sent")
    )
