"""A file of settings that people edit while it is used: read again when it has changed, kept when it has got broken."""

from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import structlog

_log = structlog.get_logger(__name__)

_T = TypeVar("_T")


class WatchedFile(Generic[_T]):
    """What the file says at this moment.

    It is looked at each time, so that a change counts from the next call on: asking the system for a file's time takes
    some microseconds.

    Args:
        read: what a file says; OSError when it cannot be read, ValueError when it makes no sense.
        name: what it is, for the log.
        on_state: told whether the file could be used, each time that it was read.

    Raises:
        OSError: the file cannot be read.
        ValueError: it makes no sense; what `read` raises.
    """

    def __init__(
        self,
        path: Path,
        read: Callable[[Path], _T],
        *,
        name: str,
        on_state: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self.path = path
        self._read = read
        self._name = name
        self._on_state = on_state
        self._signature = _signature(path)
        self._current = read(path)
        on_state(True)

    @property
    def current(self) -> _T:
        """What it says now; where it cannot be used any more, what it said before."""
        signature = _signature(self.path)
        if signature != self._signature:
            self._signature = signature
            self._read_again()
        return self._current

    def _read_again(self) -> None:
        try:
            self._current = self._read(self.path)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            _log.error(f"the {self._name} cannot be used; what it said before still holds", why=why)
            self._on_state(False)
        else:
            _log.info(f"read the {self._name} again")
            self._on_state(True)


def _signature(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
