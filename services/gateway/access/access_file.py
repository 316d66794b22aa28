"""The access file as the gateway holds it: read again whenever it has changed, and kept when it has got broken."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hemaserve.access import Access, ApiKey, Client
from hemaserve.access.editing import read
from services.runtime.watched_file import WatchedFile


@dataclass(frozen=True, slots=True)
class _Indexed:
    """What the file says, and where to find it by what callers show."""

    access: Access
    keys: Mapping[str, tuple[Client, ApiKey]]
    certificates: Mapping[str, Client]


class AccessFile:
    """What the file says at this moment: a key that is revoked is refused from the next call on.

    Args:
        on_state: told whether the file could be used, each time that it was read.

    Raises:
        OSError: the file cannot be read.
        UnusableAccessFile: it is not an access file.
    """

    def __init__(self, path: Path, on_state: Callable[[bool], None] = lambda _: None) -> None:
        self._file = WatchedFile(path, _read, name="access file", on_state=on_state)

    @property
    def access(self) -> Access:
        """What it says now; where it cannot be used any more, what it said before."""
        return self._file.current.access

    def key(self, key_id: str) -> tuple[Client, ApiKey] | None:
        """The key of this id, and whose it is."""
        return self._file.current.keys.get(key_id)

    def client_of_certificate(self, names: tuple[str, ...]) -> Client | None:
        """Whose certificate has these names; None also where they are two clients'."""
        certificates = self._file.current.certificates
        found = {client.name: client for name in names if (client := certificates.get(name))}
        return next(iter(found.values())) if len(found) == 1 else None


def is_expired(key: ApiKey, now: datetime) -> bool:
    """Whether a key's time is over."""
    return key.expires_at is not None and key.expires_at <= now


def _read(path: Path) -> _Indexed:
    access = read(path)
    return _Indexed(
        access,
        keys={key.key_id: (client, key) for client in access.clients for key in client.keys},
        certificates={name: client for client in access.clients for name in client.certificates},
    )
