"""The access file as the gateway holds it: read again whenever it has changed, and kept when it has got broken."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import structlog

from hemaserve.access import Access, ApiKey, Client, UnusableAccessFile
from hemaserve.access.editing import read

_log = structlog.get_logger(__name__)

Signature = tuple[int, int, int] | None


class AccessFile:
    """What the file says at this moment.

    It is looked at for each call, so that a key that is revoked is refused from the next call on: asking the system
    for a file's time takes some microseconds.

    Args:
        on_state: told whether the file could be used, each time that it was read.

    Raises:
        OSError: the file cannot be read.
        UnusableAccessFile: it is not an access file.
    """

    def __init__(self, path: Path, on_state: Callable[[bool], None] = lambda _: None) -> None:
        self.path = path
        self._on_state = on_state
        self._signature = _signature(path)
        self._take(read(path))

    @property
    def access(self) -> Access:
        """What it says now; where it cannot be used any more, what it said before."""
        signature = _signature(self.path)
        if signature != self._signature:
            self._signature = signature
            self._read_again()
        return self._access

    def key(self, key_id: str) -> tuple[Client, ApiKey] | None:
        """The key of this id, and whose it is."""
        _ = self.access
        return self._keys.get(key_id)

    def client_of_certificate(self, names: tuple[str, ...]) -> Client | None:
        """Whose certificate has these names; None also where they are two clients'."""
        _ = self.access
        found = {client.name: client for name in names if (client := self._certificates.get(name))}
        return next(iter(found.values())) if len(found) == 1 else None

    def _read_again(self) -> None:
        try:
            access = read(self.path)
        except (OSError, UnusableAccessFile) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            _log.error("the access file cannot be used; what it said before still holds", why=why)
            self._on_state(False)
        else:
            _log.info("read the access file again", clients=len(access.clients))
            self._take(access)

    def _take(self, access: Access) -> None:
        self._access = access
        self._keys = {key.key_id: (client, key) for client in access.clients for key in client.keys}
        self._certificates = {name: client for client in access.clients for name in client.certificates}
        self._on_state(True)


def is_expired(key: ApiKey, now: datetime) -> bool:
    """Whether a key's time is over."""
    return key.expires_at is not None and key.expires_at <= now


def _signature(path: Path) -> Signature:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
