"""PNG: a chain of chunks (W3C, Portable Network Graphics, third edition)."""

from typing import Final

from hemaserve.image_files.facts import (
    ImageLimits,
    Metadata,
    animated,
    check_size,
    damaged,
    too_many,
    unpack,
    unsupported_mode,
)
from hemaserve.image_files.tiff import check_exif, exif_block

_CHUNKS_OF_PIXELS: Final = 2**17
_NOT_METADATA: Final = (b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS")
_MOST_INFLATED: Final = 1032
"""Bytes that deflate can make of one (its inventors' figure, zlib's technical details)."""
_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}


def check(data: bytes, limits: ImageLimits) -> None:
    """Return when a PNG file is accepted.

    Raises:
        Refused: it is not.
    """
    if data[12:16] != b"IHDR":
        raise damaged()
    raw_bytes = _check_header(data, limits)
    metadata = Metadata()
    at, pixel_chunks, pixel_bytes = 8, 0, 0
    while at < len(data):
        (length,) = unpack(">I", data, at)
        name = data[at + 4 : at + 8]
        if name == b"acTL":
            raise animated()
        if name == b"IEND":
            break
        if name == b"IDAT":
            pixel_chunks += 1
            pixel_bytes += length
        elif name not in _NOT_METADATA:
            # Before the file's end is looked for: a giant that is cut off is a giant first.
            metadata.add(length)
        if at + 12 + length > len(data):
            raise damaged()
        if name == b"eXIf":
            check_exif(exif_block(data[at + 8 : at + 8 + length]))
        if pixel_chunks > _CHUNKS_OF_PIXELS:
            raise too_many(pixel_chunks, "chunks of pixels or more", _CHUNKS_OF_PIXELS)
        at += 12 + length
    # Pillow takes rows that never come for black ones.
    if pixel_bytes * _MOST_INFLATED < raw_bytes:
        raise damaged()


def _check_header(data: bytes, limits: ImageLimits) -> int:
    """How many bytes the pixels take."""
    width, height, bits, colour = unpack(">IIBB", data, 16)
    check_size(width, height, limits)
    if bits not in _DEPTHS.get(colour, ()):
        raise damaged()
    if bits == 16:
        raise unsupported_mode("16 bits a channel")
    return height * (1 + width * bits * _CHANNELS[colour] // 8)
