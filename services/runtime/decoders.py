"""Image files become pixels in processes of their own: what kills or holds up a decoder costs one file, no service.

The bytes go there and the pixels come back in memory files, whose descriptors travel over a socket: nothing is copied
through a pipe, and what nobody holds any more is gone. See docs/decisions/0018-hostile-input.md.
"""

import asyncio
import contextlib
import fcntl
import mmap
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import PIL
import structlog
from prometheus_client import CollectorRegistry

from hemaserve import decoding
from hemaserve.errors import InvalidArgument
from hemaserve.image_files.checks import check_file
from hemaserve.image_files.facts import DAMAGED, TOO_COSTLY, ImageLimits
from hemaserve.imaging import RgbImage
from services.runtime import decoder_process, signals
from services.runtime.decoder_process import LENGTH, MESSAGE_BYTES, OUTCOME, PPM_HEADER, READY, TRIP
from services.runtime.instruments import Counter

_log = structlog.get_logger(__name__)

CPU_S: Final = 15.0
"""Computing time for one trip. The largest field that is accepted takes a few seconds."""

_WALL_FACTOR: Final = 4
"""How much longer than that a trip may last: decoders share their cores with networks."""

_START_S: Final = 60.0
_SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL
_PROGRAM: Final = Path(decoder_process.__file__)
_ENVIRONMENT: Final = {
    "MALLOC_ARENA_MAX": "1",
    # Pixels of small fields stay in the heap until the process is idle; those of large ones go at once.
    "MALLOC_MMAP_THRESHOLD_": str(2**23),
    "MALLOC_TRIM_THRESHOLD_": str(2**23),
}

Outcome = RgbImage | InvalidArgument


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file to decode.

    Attributes:
        data: what is in it.
        field: what the request calls it, for errors.
    """

    data: bytes
    field: str


class _DecoderDied(Exception):
    """A decoder did not survive a trip.

    Args:
        number: the signal that ended it.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Decoders:
    """Some processes that decode. Each is started when it is first needed, and replaced when it dies.

    Args:
        count: how many there may be; further files wait in order.
        cpu_s: computing time for one trip, in seconds.
        program: what such a process runs, in place of services/runtime/decoder_process.py.
    """

    def __init__(self, count: int, *, cpu_s: float = CPU_S, program: Path = _PROGRAM) -> None:
        self._room = asyncio.Semaphore(count)
        self._idle: list[_Decoder] = []
        self._trips: set[asyncio.Task[list[Outcome]]] = set()
        self._cpu_s = cpu_s
        self._program = program
        self._died: list[Counter] = []

    def tell(self, registry: CollectorRegistry) -> None:
        """From now on count in this registry too how many processes died."""
        self._died.append(Counter(signals.DECODERS_DIED, registry))

    async def decode(self, data: bytes, *, limits: ImageLimits, field: str = "image") -> RgbImage:
        """One still image as uint8 [height, width, 3] RGB, not writable; see `hemaserve.imaging.decode`.

        Raises:
            InvalidArgument: it is none that is accepted, or its decoder did not survive it.
        """
        async for (outcome,) in self.decode_each([ImageFile(data, field)], limits=limits):
            if isinstance(outcome, InvalidArgument):
                raise outcome
            return outcome
        raise AssertionError("a file has an outcome")

    async def decode_each(
        self, files: Sequence[ImageFile], *, limits: ImageLimits
    ) -> AsyncIterator[list[Outcome]]:
        """What becomes of each file, in order, several at a time: those that one trip had room for."""
        rest = list(files)
        while rest:
            trip = asyncio.create_task(self._trip(rest, limits))
            self._trips.add(trip)
            trip.add_done_callback(self._trips.discard)
            # A caller that goes away does not take the decoder with it in the middle of a trip.
            outcomes = await asyncio.shield(trip)
            rest = rest[len(outcomes) :]
            yield outcomes

    async def close(self) -> None:
        """End the processes; trips that are under way come to nothing."""
        for trip in self._trips:
            trip.cancel()
        await asyncio.gather(*self._trips, return_exceptions=True)
        while self._idle:
            await self._idle.pop().end()

    async def _trip(self, files: Sequence[ImageFile], limits: ImageLimits) -> list[Outcome]:
        refused, packed = await asyncio.to_thread(_packed, files, limits)
        if packed is None:
            return [refused[index] for index in range(len(files))]
        with contextlib.closing(packed):
            try:
                read = await self._asked(packed, limits)
            except _DecoderDied as died:
                if len(packed.lengths) > 1:
                    # It is one of them that did it, and only that one shall pay.
                    return await self._trip(files[: len(files) // 2], limits)
                return [refused.get(0) or _blamed(died, files[0].field, self._cpu_s)]
        return _in_place(files, refused, read)

    async def _asked(self, packed: "_Packed", limits: ImageLimits) -> list[Outcome]:
        async with self._room:
            try:
                return await self._asked_once(packed, limits)
            except _DecoderDied as died:
                # Nothing that is in a file ends a process like this; the system or an operator did.
                if died.number != signal.SIGKILL:
                    raise
                return await self._asked_once(packed, limits)

    async def _asked_once(self, packed: "_Packed", limits: ImageLimits) -> list[Outcome]:
        decoder = await self._ready()
        try:
            answer = await decoder.ask(packed, limits, self._cpu_s)
        except BaseException as error:
            if isinstance(error, _DecoderDied):
                for died in self._died:
                    died.inc()
            await decoder.end()
            raise
        self._idle.append(decoder)
        return answer

    async def _ready(self) -> "_Decoder":
        while self._idle:
            if (decoder := self._idle.pop()).alive:
                return decoder
            await decoder.end()
        decoder = await asyncio.to_thread(_Decoder, self._program)
        try:
            await decoder.started()
        except BaseException:
            await decoder.end()
            raise
        return decoder


@dataclass(frozen=True, slots=True)
class _Packed:
    """Files in a memory file, one after the other."""

    descriptor: int
    lengths: list[int]

    def close(self) -> None:
        os.close(self.descriptor)


def _packed(
    files: Sequence[ImageFile], limits: ImageLimits
) -> tuple[dict[int, InvalidArgument], _Packed | None]:
    """By index, what is refused for its headers; and the others."""
    refused: dict[int, InvalidArgument] = {}
    for index, file in enumerate(files):
        try:
            check_file(file.data, limits=limits, field=file.field)
        except InvalidArgument as error:
            refused[index] = error
    if len(refused) == len(files):
        return refused, None
    descriptor = os.memfd_create("files", os.MFD_CLOEXEC)
    lengths = []
    with open(descriptor, "wb", buffering=0, closefd=False) as memory:
        for index, file in enumerate(files):
            if index not in refused:
                rest = memoryview(file.data)
                while rest:
                    rest = rest[memory.write(rest) :]
                lengths.append(len(file.data))
    return refused, _Packed(descriptor, lengths)


def _in_place(
    files: Sequence[ImageFile], refused: dict[int, InvalidArgument], read: list[Outcome]
) -> list[Outcome]:
    """The outcomes from the first file to the last that was looked at."""
    outcomes: list[Outcome] = []
    left = iter(read)
    for index, file in enumerate(files):
        outcome = refused.get(index) or next(left, None)
        if outcome is None:
            break
        if isinstance(outcome, InvalidArgument):
            outcome = InvalidArgument(file.field, outcome.value, outcome.allowed, reason=outcome.reason)
        outcomes.append(outcome)
    return outcomes


def _blamed(died: _DecoderDied, field: str, cpu_s: float) -> InvalidArgument:
    if died.number in {signal.SIGPROF, signal.SIGALRM}:
        value = "an image that takes too long to decode"
        return InvalidArgument(field, value, f"at most {cpu_s:g} s", reason=TOO_COSTLY)
    if died.number == signal.SIGKILL:
        value = "an image that takes too much memory"
        return InvalidArgument(field, value, "one that does not", reason=TOO_COSTLY)
    return InvalidArgument(field, "an image that breaks its decoder", "a sound image file", reason=DAMAGED)


class _Decoder:
    """One process."""

    def __init__(self, program: Path) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self._channel = ours
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(program), str(theirs.fileno()), *_paths()],
                pass_fds=[theirs.fileno()],
                env=_ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # Codecs write there what they think of files.
                stderr=subprocess.DEVNULL,
            )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    async def started(self) -> None:
        """Return when it is ready.

        Raises:
            RuntimeError: it does not get ready.
        """
        said = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_S):
                said, _ = await self._receive()
        if said != READY:
            raise RuntimeError("a decoder process did not start")

    async def ask(self, packed: _Packed, limits: ImageLimits, cpu_s: float) -> list[Outcome]:
        """What becomes of the files, from the first on.

        Raises:
            _DecoderDied: it did not survive them.
        """
        trip = TRIP.pack(*limits, cpu_s, len(packed.lengths)) + b"".join(map(LENGTH.pack, packed.lengths))
        try:
            async with asyncio.timeout(_WALL_FACTOR * cpu_s):
                socket.send_fds(self._channel, [trip], [packed.descriptor])
                reply, descriptors = await self._receive()
        except TimeoutError:
            raise _DecoderDied(signal.SIGALRM) from None
        except ConnectionError:
            reply, descriptors = b"", []
        if not reply:
            status = await asyncio.to_thread(self._process.wait)
            _log.warning("decoder_died", status=status)
            # One that ends by itself, which none does, is as broken as one that is ended.
            raise _DecoderDied(-status if status < 0 else signal.SIGABRT)
        return _unpacked(reply, descriptors[0])

    async def end(self) -> None:
        """End it, whatever it does."""
        self._channel.close()
        self._process.kill()
        await asyncio.to_thread(self._process.wait)

    async def _receive(self) -> tuple[bytes, list[int]]:
        loop = asyncio.get_running_loop()
        readable: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._channel, _set, readable)
        try:
            await readable
        finally:
            loop.remove_reader(self._channel)
        message, descriptors, _, _ = socket.recv_fds(self._channel, MESSAGE_BYTES, 1)
        return message, descriptors


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _unpacked(reply: bytes, descriptor: int) -> list[Outcome]:
    try:
        # From here on nobody can take away what is mapped, nor change it.
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
        size = os.fstat(descriptor).st_size
        pixels = mmap.mmap(descriptor, size, prot=mmap.PROT_READ) if size else b""
    finally:
        os.close(descriptor)
    outcomes: list[Outcome] = []
    at = offset = 0
    while at < len(reply):
        width, height, words = OUTCOME.unpack_from(reply, at)
        at += OUTCOME.size
        if words:
            value, allowed, reason = reply[at : at + words].decode().split("\0")
            outcomes.append(InvalidArgument("image", value, allowed, reason=reason))
            at += words
        else:
            offset += len(PPM_HEADER % (width, height))
            flat = np.frombuffer(pixels, np.uint8, 3 * width * height, offset)
            outcomes.append(flat.reshape(height, width, 3))
            offset += flat.size
    return outcomes


@cache
def _paths() -> list[str]:
    """Where a process finds what it needs, which it cannot know without our own start-up."""
    # By a module: a folder of the same name in the working directory may stand before an editable install.
    modules = (Path(decoding.__file__).parents[1], Path(PIL.__file__).parents[1])
    return list(dict.fromkeys(map(str, modules)))
