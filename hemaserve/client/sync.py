"""The synchronous client: the asynchronous one, run on an event loop in a thread of its own."""

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import grpc

from hemaserve.client.aio import DEFAULT_ADDRESS, Client
from hemaserve.client.backoff import Backoff
from hemaserve.client.credentials import Token

_P = ParamSpec("_P")
_R = TypeVar("_R")


def _blocking(
    method: Callable[Concatenate[Client, _P], Coroutine[Any, Any, _R]],
) -> Callable[Concatenate["SyncClient", _P], _R]:
    """The method of `Client`, waited for."""

    @functools.wraps(method)
    def call(self: "SyncClient", /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        return self._wait(method(self._client, *args, **kwargs))

    return call


class SyncClient:
    """`Client` for code without an event loop: the same methods, which block. Safe for many threads at once.

    Use it as a context manager, or `close()` it. Interrupting a call (Ctrl-C) cancels it in the services too.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout_s: float = 30.0,
        connect_timeout_s: float = 5.0,
        credentials: grpc.ChannelCredentials | None = None,
        api_key: str | None = None,
        token: Token | None = None,
        backoff: Backoff = Backoff(),
        window: int = 8,
    ) -> None:
        self._client = Client(
            address,
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
            credentials=credentials,
            api_key=api_key,
            token=token,
            backoff=backoff,
            window=window,
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hemaserve-client", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """The gateway's `host:port`."""
        return self._client.address

    analyze_field = _blocking(Client.analyze_field)
    analyze_smear = _blocking(Client.analyze_smear)
    detect_cells = _blocking(Client.detect_cells)
    classify_cells = _blocking(Client.classify_cells)
    explain_cell = _blocking(Client.explain_cell)
    list_models = _blocking(Client.list_models)
    quota = _blocking(Client.quota)
    list_site_profiles = _blocking(Client.list_site_profiles)
    health = _blocking(Client.health)

    def close(self) -> None:
        """Close the connection; calls in flight are cancelled. Idempotent."""
        if self._loop.is_closed():
            return
        self._wait(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wait(self, coroutine: Coroutine[Any, Any, _R]) -> _R:
        if self._loop.is_closed():
            coroutine.close()
            raise RuntimeError("this client is closed")
        future: Future[_R] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:  # also KeyboardInterrupt: nobody waits for the answer any more
            future.cancel()
            raise
