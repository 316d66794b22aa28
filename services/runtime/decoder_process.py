"""A process that decodes image files and does nothing else: `python -I -S decoder_process.py SOCKET PATH...`.

It holds no secret and serves one trip at a time, so that it may die of a file without anybody else being hurt. Loads
the standard library, Pillow and `hemaserve.decoding`, found in PATH...; services/runtime/decoders.py is the other end.

A trip is one message each way. To here: `TRIP`, a length for each file, and a memory file that holds the files. Back:
an `OUTCOME` for each file from the first on, with the words of a refusal where there is one, and a memory file that
holds the pixels of the others, uint8 [height, width, 3] each, behind the header that PPM files have. What comes after
`ENOUGH_BYTES` of pixels is left for another trip.
"""

import ctypes
import os
import resource
import signal
import socket
import struct
import sys

MESSAGE_BYTES = 2**17
TRIP = struct.Struct("<QQQQdI")
"""The four limits on images, CPU seconds, how many files."""
LENGTH = struct.Struct("<Q")
OUTCOME = struct.Struct("<III")
"""Width, height, and bytes of words: either a size or words."""
PPM_HEADER = b"P6\n%d %d\n255\n"
READY = b"ready"
ENOUGH_BYTES = 2**24
IDLE_S = 0.2

_FREE_BYTES = 64 * 2**20
_BYTES_A_PIXEL = 40
"""Turned, with alpha, on white: at the most six copies of four bytes are alive at one time, and WebP has two more."""


def main(channel: socket.socket, paths: list[str]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it ends when the other end closes
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.path += paths
    import hemaserve.decoding  # noqa: F401, PLC0415 - found in the paths

    channel.send(READY)
    while True:
        message, (files, *_), _, _ = _received(channel)
        if not message:
            return
        reply, pixels = _trip(message, files)
        socket.send_fds(channel, [reply], [pixels])
        os.close(pixels)


def _received(channel: socket.socket) -> tuple[bytes, list[int], int, object]:
    channel.settimeout(IDLE_S)
    try:
        channel.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        # Memory is kept from file to file, which saves a third of a small one's time, and not any longer.
        if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
            trim(0)
    channel.settimeout(None)
    message, descriptors, flags, address = socket.recv_fds(channel, MESSAGE_BYTES, 1)
    return message, descriptors or [-1], flags, address


def _trip(message: bytes, files: int) -> tuple[bytes, int]:
    *numbers, cpu_s, count = TRIP.unpack_from(message)
    lengths = [LENGTH.unpack_from(message, TRIP.size + LENGTH.size * index)[0] for index in range(count)]
    pixels = os.memfd_create("pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    outcomes, at, written = [], 0, 0
    # Its signal ends the process: no code of a codec's can put that off.
    signal.setitimer(signal.ITIMER_PROF, cpu_s)
    for length in lengths:
        outcome, size = _decoded(os.pread(files, length, at), numbers, pixels)
        outcomes.append(outcome)
        at += length
        written += size
        if written >= ENOUGH_BYTES:
            break
    signal.setitimer(signal.ITIMER_PROF, 0)
    os.close(files)
    return b"".join(outcomes), pixels


def _decoded(data: bytes, limits: list[int], pixels: int) -> tuple[bytes, int]:
    from hemaserve.decoding import decode_to_rgb  # noqa: PLC0415
    from hemaserve.errors import InvalidArgument  # noqa: PLC0415
    from hemaserve.image_files.facts import TOO_COSTLY, ImageLimits  # noqa: PLC0415

    def room_for(count: int) -> None:
        _limit_memory(_FREE_BYTES + 4 * len(data) + _BYTES_A_PIXEL * count)

    try:
        room_for(0)
        image = decode_to_rgb(data, limits=ImageLimits(*limits), field="image", sized=room_for)
        with open(pixels, "ab", buffering=0, closefd=False) as memory:
            # Of all that Pillow can do, this alone writes rows straight to a descriptor: a PPM, whose header is short.
            image.save(memory, "PPM")
    except InvalidArgument as error:
        words = "\0".join((error.value, error.allowed, error.reason)).encode()
        return OUTCOME.pack(0, 0, len(words)) + words, 0
    except MemoryError:
        words = "\0".join(("an image that takes too much memory", "one that does not", TOO_COSTLY)).encode()
        return OUTCOME.pack(0, 0, len(words)) + words, 0
    return OUTCOME.pack(image.width, image.height, 0), 3 * image.width * image.height


def _limit_memory(more: int) -> None:
    """Let this process take so many bytes more than it has."""
    with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123 - pathlib is not loaded here
        taken = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + more, resource.RLIM_INFINITY))


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
