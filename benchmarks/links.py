"""Connections between services that can be made slow, cut, or garbled: a TCP proxy for each pair that talks."""

import asyncio
import contextlib
import random
import socket
import struct
import time
from typing import Final

CHUNK: Final = 2**16
_FRAME_HEADER: Final = 9
"""Bytes in front of each HTTP/2 frame: length (3), type, flags, stream (4). RFC 9113, section 4.1."""
_ABSURD_LENGTH: Final = b"\xff\xff\xff"
_LINGER_NOT_AT_ALL: Final = struct.pack("ii", 1, 0)


def bound() -> socket.socket:
    """A socket on a free port of the loopback."""
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    return made


class Frames:
    """Follows the HTTP/2 frames of replies, to break one where it cannot be taken for a sound one.

    Anything else in a stream without encryption could be changed and nobody would know, neither gRPC nor we: TCP's
    checksum, or TLS, is what keeps a real network from doing that.
    """

    def __init__(self) -> None:
        self._header = b""
        self._body_left = 0

    def pass_on(self, chunk: bytes, *, garble: bool) -> tuple[bytes, bool]:
        """The chunk, with the length of the first frame that begins in it made absurd; and whether there was one."""
        passed = bytearray()
        garbled = False
        view = memoryview(chunk)
        while view:
            if self._body_left:
                taken = min(self._body_left, len(view))
                self._body_left -= taken
            else:
                taken = min(_FRAME_HEADER - len(self._header), len(view))
                starts = not self._header
                self._header += view[:taken]
                if garble and not garbled and starts and taken >= len(_ABSURD_LENGTH):
                    garbled = True
                    passed += _ABSURD_LENGTH + view[len(_ABSURD_LENGTH) : taken]
                    view = view[taken:]
                    self._follow()
                    continue
                self._follow()
            passed += view[:taken]
            view = view[taken:]
        return bytes(passed), garbled

    def _follow(self) -> None:
        if len(self._header) == _FRAME_HEADER:
            self._body_left = int.from_bytes(self._header[:3], "big")
            self._header = b""


class Link:
    """The way from one process to a port of another. Sound until told otherwise.

    Args:
        name: who calls whom.
        target: `host:port` of the one who is called.
        encrypted: whether TLS is spoken on it: then any byte may be garbled, because TLS notices.

    Attributes:
        address: `host:port` to call in the target's place.
        delay_s: how long each piece of a reply is held back.
    """

    def __init__(self, name: str, target: str, *, encrypted: bool = False) -> None:
        self.name = name
        self.target = target
        self.address = ""
        self.delay_s = 0.0
        self._encrypted = encrypted
        self._refuse_until = 0.0
        self._garble = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        """How many are open, both sides counted."""
        return len(self._open)

    async def start(self, listening: socket.socket | None = None) -> None:
        """Listen on a socket, or on a free port of the loopback."""
        listening = listening or bound()
        self._server = await asyncio.start_server(self._accept, sock=listening, limit=CHUNK)
        host, port = listening.getsockname()[:2]
        self.address = f"{host}:{port}"

    async def close(self) -> None:
        """Close all connections and the port."""
        if self._server is not None:
            self._server.close()
        self.cut(0.0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self, seconds: float) -> None:
        """Reset all connections, and reset new ones for some time."""
        self._refuse_until = time.monotonic() + seconds
        for writer in list(self._open):
            _reset(writer)

    def garble(self) -> None:
        """Make the next reply that comes on each connection unreadable."""
        self._garble += 1

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if time.monotonic() < self._refuse_until:
            _reset(writer)
            return
        host, _, port = self.target.rpartition(":")
        try:
            behind, ahead = await asyncio.open_connection(host, int(port), limit=CHUNK)
        except OSError:
            _reset(writer)
            return
        self._open |= {writer, ahead}
        try:
            asking = asyncio.create_task(self._ask(reader, ahead))
            try:
                await self._reply(behind, writer)
            finally:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
        finally:
            self._open -= {writer, ahead}
            for each in (writer, ahead):
                each.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK):
                writer.write(chunk)
                await writer.drain()
            # The caller has closed; so that the other side notices, what it still says is of no use to anybody.
            _reset(writer)

    async def _reply(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = Frames()
        garbled = self._garble
        with contextlib.suppress(OSError):
            while chunk := await reader.read(CHUNK):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                due = self._garble > garbled
                passed, done = (
                    (_flipped(chunk), True) if self._encrypted and due else frames.pass_on(chunk, garble=due)
                )
                garbled = self._garble if done else garbled
                writer.write(passed)
                await writer.drain()


def _flipped(chunk: bytes) -> bytes:
    """The chunk with one bit changed."""
    changed = bytearray(chunk)
    changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection as a cut wire does: without a word."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT_AT_ALL)
    writer.transport.abort()
