"""An issuer's public keys: fetched off the event loop, and kept while the issuer is away."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.request import HTTPRedirectHandler, build_opener

import jwt
import structlog

from hemaserve.errors import Unavailable

_log = structlog.get_logger(__name__)

REFRESH_S: Final = 600.0
"""Keys of this age are fetched anew, behind the back of the calls that use them."""
KEPT_S: Final = 24 * 3600.0
"""Keys of this age are no longer believed when the issuer stays away."""
PAUSE_S: Final = 10.0
"""Least time between two fetches, however many tokens name keys that nobody has."""
TIMEOUT_S: Final = 5.0
MAX_BYTES: Final = 2**20

Keys = dict[str, jwt.PyJWK]


class KeySet:
    """The keys at one place, a web address or a file.

    Args:
        fetch: returns the text of a JSON Web Key Set; called in a thread.
        clock: monotonic time, in seconds.
    """

    def __init__(self, fetch: Callable[[], bytes], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._keys: Keys = {}
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def key(self, key_id: str | None) -> jwt.PyJWK | None:
        """The key of this id, or the only one where a token names none; None when there is no such key.

        Raises:
            Unavailable: no keys are known, or only too old ones, and the issuer cannot be reached.
        """
        found = self._find(key_id)
        if found is None or self._older_than(KEPT_S):
            await self._fetch_once()
            found = self._find(key_id)
        elif self._older_than(REFRESH_S):
            self._start_fetching()
        if self._older_than(KEPT_S):
            raise Unavailable("the issuer of tokens cannot be reached", reason="DEPENDENCY_UNAVAILABLE")
        return found

    def _find(self, key_id: str | None) -> jwt.PyJWK | None:
        if key_id is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(key_id)

    def _older_than(self, seconds: float) -> bool:
        return self._fetched_at is None or self._clock() - self._fetched_at > seconds

    async def _fetch_once(self) -> None:
        task = self._start_fetching()
        if task is not None:
            await asyncio.shield(task)  # it is others' fetch too

    def _start_fetching(self) -> "asyncio.Task[None] | None":
        """The fetch that runs, or a new one; None when the last one was a moment ago."""
        if self._fetching is not None and not self._fetching.done():
            return self._fetching
        now = self._clock()
        if self._tried_at is not None and now - self._tried_at < PAUSE_S:
            return None
        self._tried_at = now
        self._fetching = asyncio.create_task(self._renew())
        return self._fetching

    async def _renew(self) -> None:
        try:
            keys = parse(await asyncio.to_thread(self._fetch))
        except (OSError, ValueError) as error:
            _log.warning("cannot get an issuer's keys", error=type(error).__name__)
            return
        self._keys, self._fetched_at = keys, self._clock()


def parse(text: bytes) -> Keys:
    """The public keys of a JSON Web Key Set, by id; others in it are passed over.

    Raises:
        ValueError: it has no key that can be used.
    """
    content = json.loads(text)
    listed = content.get("keys") if isinstance(content, dict) else None
    keys: Keys = {}
    for number, item in enumerate(listed if isinstance(listed, list) else ()):
        # A shared secret ("oct") is none of ours, and neither is a key for encryption.
        if not isinstance(item, dict) or item.get("kty") == "oct" or item.get("use", "sig") != "sig":
            continue
        try:
            keys[str(item.get("kid", f"#{number}"))] = jwt.PyJWK(item)
        except jwt.PyJWTError:
            continue
    if not keys:
        raise ValueError("no key that can be used")
    return keys


def source_of(jwks: str, folder: Path) -> Callable[[], bytes]:
    """What fetches the keys at a web address, or at a path relative to `folder`."""
    if jwks.startswith(("https://", "http://")):
        return lambda: _download(jwks)
    return lambda: _read(folder / jwks)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES)


def _download(address: str) -> bytes:
    with build_opener(_NoRedirect).open(address, timeout=TIMEOUT_S) as response:
        return bytes(response.read(MAX_BYTES))


class _NoRedirect(HTTPRedirectHandler):
    """Keys come from where the access file says, and from nowhere that this place points to."""

    def redirect_request(self, *_: Any) -> None:
        return None
