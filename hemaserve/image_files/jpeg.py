"""JPEG: a chain of marked segments, and scans of entropy-coded data between them (ITU-T T.81, annex B)."""

from typing import Final

from hemaserve.image_files.facts import (
    STRUCTURE,
    ImageLimits,
    Metadata,
    Refused,
    check_size,
    damaged,
    too_many,
    unpack,
    unsupported_mode,
)
from hemaserve.image_files.tiff import check_exif, exif_block

_START_OF_SCAN: Final = 0xDA
_END_OF_IMAGE: Final = 0xD9
_APP1: Final = 0xE1
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SUPPORTED_FRAMES: Final = (0xC0, 0xC1, 0xC2)
_METADATA: Final = (*range(0xE0, 0xF0), 0xFE)
_BARE: Final = (0x01, *range(0xD0, 0xD8))
_MAX_SEGMENTS: Final = 4096

_BLOCK_PX: Final = 64
"""Pixels of a block of the finest channel, which takes a bit or more of the first scan."""

MAX_SCANS: Final = 100
"""Each scan of a progressive JPEG is a pass over all of its pixels. Encoders write some ten, and the most eager
optimisers fewer than 64."""


def check(data: bytes, limits: ImageLimits) -> None:
    """Return when a JPEG file is accepted.

    Raises:
        Refused: it is not.
    """
    metadata = Metadata()
    pixels = None
    at = 2
    for _ in range(_MAX_SEGMENTS):
        marker, after = _next_marker(data, at)
        if marker == _START_OF_SCAN:
            break
        if marker == _END_OF_IMAGE:
            raise damaged()
        if marker in _BARE:
            at = after
            continue
        (length,) = unpack(">H", data, after)
        if length < 2 or after + length > len(data):
            raise damaged()
        if marker in _FRAMES:
            if pixels is not None:
                raise damaged()
            pixels = _check_frame(data, after, marker, limits)
        elif marker in _METADATA:
            metadata.add(length)
            payload = data[after + 2 : after + length] if marker == _APP1 else b""
            if payload.startswith(b"Exif\0\0"):
                check_exif(exif_block(payload))
        at = after + length
    else:
        raise too_many(_MAX_SEGMENTS, "JPEG segments or more", _MAX_SEGMENTS)
    # libjpeg paints grey what never comes.
    if pixels is None or (len(data) - at) * 8 * _BLOCK_PX < pixels:
        raise damaged()
    # Within coded data 0xFF is never followed by a marker's number, so what looks like a scan from here on is one.
    if (scans := data.count(b"\xff\xda", at)) > MAX_SCANS:
        raise too_many(scans, "JPEG scans", MAX_SCANS)


def _next_marker(data: bytes, at: int) -> tuple[int, int]:
    """A marker's number and where it ends; any number of 0xFF may stand before it."""
    (lead,) = unpack("B", data, at)
    if lead != 0xFF:
        raise damaged()
    end = at
    while end < len(data) and data[end] == 0xFF:
        end += 1
        if end - at > _MAX_SEGMENTS:
            raise damaged()
    (marker,) = unpack("B", data, end)
    return marker, end + 1


def _check_frame(data: bytes, at: int, marker: int, limits: ImageLimits) -> int:
    """How many pixels there are."""
    _, bits, height, width, channels = unpack(">HBHHB", data, at)
    if marker not in _SUPPORTED_FRAMES:
        allowed = "baseline, extended or progressive, Huffman-coded"
        raise Refused(f"JPEG process {marker - 0xC0}", allowed, STRUCTURE)
    check_size(width, height, limits)
    if bits != 8:
        raise unsupported_mode(f"{bits} bits a channel")
    if channels not in (1, 3):
        raise unsupported_mode(f"{channels} channels")
    return width * height
