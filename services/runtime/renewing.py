"""A channel whose certificates are replaced while it is used: gRPC fixes them when a channel is made."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

import grpc
import grpc.aio

from services.runtime.tls import WatchedTls, channel_credentials
from services.runtime.tls_files import TlsFiles

CHECK_INTERVAL_S: Final = 1.0

_READY: Final = grpc.ChannelConnectivity.READY


class RenewingChannel(grpc.aio.Channel):
    """Takes each call to a channel with the newest certificates; calls in progress stay where they are.

    When the files have changed, a new channel is connected beside the old one and takes over once it is ready, or at
    once where the old one is not: what the other side does not accept yet does no harm.

    Args:
        files: own certificate and key, and the authorities of the other side.
        open_with: makes a channel with these credentials.

    Raises:
        TlsFileError: the files cannot be used at the start.
    """

    def __init__(
        self, files: TlsFiles, open_with: Callable[[grpc.ChannelCredentials], grpc.aio.Channel]
    ) -> None:
        self._watched = WatchedTls(files)
        self._open_with = open_with
        self._channel = self._open()
        self._next: grpc.aio.Channel | None = None
        self._checked = time.monotonic()
        self._calls: Counter[grpc.aio.Channel] = Counter()
        self._retired: set[grpc.aio.Channel] = set()
        self._closing: set[asyncio.Task[None]] = set()

    def newest(self) -> grpc.aio.Channel:
        """The channel for a call that begins now."""
        if time.monotonic() - self._checked >= CHECK_INTERVAL_S:
            self._checked = time.monotonic()
            if self._watched.refresh():
                if self._next is not None:
                    self._retire(self._next)
                self._next = self._open()
        following = self._next
        if following is not None and (
            following.get_state(try_to_connect=True) is _READY or self._channel.get_state() is not _READY
        ):
            self._retire(self._channel)
            self._channel, self._next = following, None
        return self._channel

    def _open(self) -> grpc.aio.Channel:
        return self._open_with(channel_credentials(self._watched.current))

    def begun(self, channel: grpc.aio.Channel, call: Any) -> None:
        """Keep `channel` open for as long as `call` takes."""
        self._calls[channel] += 1
        call.add_done_callback(lambda _: self._ended(channel))

    def _ended(self, channel: grpc.aio.Channel) -> None:
        self._calls[channel] -= 1
        if not self._calls[channel]:
            del self._calls[channel]
            if channel in self._retired:
                self._retire(channel)

    def _retire(self, channel: grpc.aio.Channel) -> None:
        # Closing with a grace would do the same, but nothing could cut it short.
        if self._calls[channel]:
            self._retired.add(channel)
            return
        self._retired.discard(channel)
        closing = asyncio.create_task(channel.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self, grace: float | None = None) -> None:
        """Close it, and those that calls are still in progress on."""
        channels = [self._channel, *self._retired]
        self._retired.clear()
        if self._next is not None:
            channels.append(self._next)
        await asyncio.gather(*(channel.close(grace) for channel in channels), *self._closing)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """The state of the channel that a call would take."""
        return self.newest().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """As of the channel that a call would take."""
        await self.newest().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """As of the channel that a call would take."""
        await self.newest().channel_ready()

    def unary_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Calls of this method, each over the newest channel."""
        return _Method(self, lambda channel: channel.unary_unary(*args, **kwargs))

    def unary_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Calls of this method, each over the newest channel."""
        return _Method(self, lambda channel: channel.unary_stream(*args, **kwargs))

    def stream_unary(self, *args: Any, **kwargs: Any) -> Any:
        """Calls of this method, each over the newest channel."""
        return _Method(self, lambda channel: channel.stream_unary(*args, **kwargs))

    def stream_stream(self, *args: Any, **kwargs: Any) -> Any:
        """Calls of this method, each over the newest channel."""
        return _Method(self, lambda channel: channel.stream_stream(*args, **kwargs))


class _Method:
    """One method of a stub, which outlives channels."""

    def __init__(self, channel: RenewingChannel, bind: Callable[[grpc.aio.Channel], Any]) -> None:
        self._channel = channel
        self._bind = bind
        self._bound: tuple[grpc.aio.Channel | None, Any] = (None, None)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        channel = self._channel.newest()
        if self._bound[0] is not channel:
            self._bound = (channel, self._bind(channel))
        call = self._bound[1](*args, **kwargs)
        self._channel.begun(channel, call)
        return call
