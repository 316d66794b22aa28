"""Changing an access file that others read and change at the same time."""

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from hemaserve.access.clients import Access, ApiKey, Client, Quota, Role
from hemaserve.access.file import MAX_BYTES, UnusableAccessFile, from_text, to_text
from hemaserve.access.keys import digest, make_key


class NoSuchKey(LookupError):
    """Neither a client nor a key has this name."""


def read(path: Path) -> Access:
    """What the file says.

    Raises:
        OSError: it cannot be read.
        UnusableAccessFile: it is not an access file.
    """
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UnusableAccessFile(f"the access file is larger than {MAX_BYTES} bytes")
    try:
        return from_text(content.decode())
    except UnicodeDecodeError:
        raise UnusableAccessFile("the access file is not UTF-8") from None


def change(path: Path, edit: Callable[[Access], Access]) -> None:
    """Replace the file by its edited self, readable to its owner only; one that does not exist begins empty.

    Readers see the old file or the new one and never half of one; two who change it do so one after the other.

    Raises:
        OSError, UnusableAccessFile: see `read`; then nothing is changed.
    """
    path = path.resolve()  # not the link to it
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path.with_name(path.name + ".lock")):
        access = read(path) if path.exists() else Access()
        _replace(path, to_text(edit(access)))


def with_key(
    access: Access,
    name: str,
    *,
    now: datetime,
    roles: Iterable[Role] = (),
    quota: Quota | None = None,
    certificates: Iterable[str] = (),
    expires_at: datetime | None = None,
) -> tuple[Access, str]:
    """A client, new or known, given one more key; with the key, which nobody can show again.

    Args:
        roles, quota: replace those of a known client where they are given.
        certificates: added to those that it has.

    Raises:
        ValueError: a new client without roles.
    """
    known = next((client for client in access.clients if client.name == name), None)
    client = known or Client(name, frozenset(roles))
    client = replace(
        client,
        roles=frozenset(roles) or client.roles,
        quota=client.quota if quota is None else quota,
        certificates=tuple(dict.fromkeys((*client.certificates, *certificates))),
    )
    if not client.roles:
        raise ValueError(f"{name} is new: it needs a role")
    key_id, key = make_key()
    client = replace(client, keys=(*client.keys, ApiKey(key_id, digest(key), now, expires_at)))
    others = [client if other is known else other for other in access.clients]
    return replace(access, clients=tuple(others if known else [*others, client])), key


def revoked(access: Access, name: str, *, now: datetime) -> Access:
    """With one key revoked, by its id; or all keys and certificates of a client, by its name.

    Raises:
        NoSuchKey: there is no such key or client.
    """
    clients = [_revoked(client, name, now) for client in access.clients]
    if not any(client.name == name or _has_key(client, name) for client in clients):
        raise NoSuchKey(name)
    return replace(access, clients=tuple(clients))


def _revoked(client: Client, name: str, now: datetime) -> Client:
    whole = client.name == name
    keys = tuple(
        replace(key, revoked_at=key.revoked_at or now) if whole or key.key_id == name else key
        for key in client.keys
    )
    return replace(client, keys=keys, certificates=() if whole else client.certificates)


def _has_key(client: Client, key_id: str) -> bool:
    return any(key.key_id == key_id for key in client.keys)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl  # noqa: PLC0415 - not on Windows, where the rest of the command runs

    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(path: Path, text: str) -> None:
    from_text(text)  # never leave a file behind that nobody can read
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # of mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
