"""A screen that was asked for is there, or an error is."""

from typing import TypeVar

from hemaserve.client.errors import error_of
from hemaserve.results import Failure, FieldResult, SmearResult

_R = TypeVar("_R", FieldResult, SmearResult)


def screened(result: _R, *, asked_for: bool) -> _R:
    """The result, which has its leukemia screen where that was asked for.

    Raises:
        HemaServeError: it has none: the service is older than the screen, and ignored the wish.
    """
    if asked_for and result.screen is None:
        message = "the service answered without the leukemia screen that was asked for: it does not know it"
        raise error_of(Failure("UNIMPLEMENTED", "SCREEN_UNKNOWN", message))
    return result
