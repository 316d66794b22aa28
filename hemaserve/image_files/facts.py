"""What a file's headers must tell, the limits on it, and how it is refused."""

import struct
from typing import Final, NamedTuple

from hemaserve.errors import InvalidArgument

DAMAGED: Final = "IMAGE_DAMAGED"
MODE: Final = "IMAGE_MODE_UNSUPPORTED"
ANIMATED: Final = "IMAGE_ANIMATED"
METADATA: Final = "IMAGE_METADATA_TOO_LARGE"
TOO_COSTLY: Final = "IMAGE_TOO_COSTLY"
EXIF: Final = "IMAGE_EXIF_UNUSABLE"
STRUCTURE: Final = "IMAGE_STRUCTURE_UNSUPPORTED"

MAX_METADATA_BYTES: Final = 4 * 2**20
"""All of a file that is neither pixels nor needed for them: profiles, EXIF, XMP, comments. Colour profiles for
printing take 2 MB, and the descriptions that microscopes write some 100 kB."""

MAX_EXIF_BYTES: Final = 2**16
"""What fits in a JPEG's segment."""

MAX_PARTS: Final = 4096
"""Segments, chunks or entries in one file. A PNG of 64 MB in chunks of 8 kB has more, so chunks of pixels are free."""


class ImageLimits(NamedTuple):
    """What is accepted as an image; checked on the header, before any pixel is decoded."""

    max_bytes: int = 64 * 2**20
    max_pixels: int = 64_000_000
    max_side_px: int = 16_384
    min_side_px: int = 16


class Refused(Exception):
    """Why a file is not accepted; `checks` knows what the request calls it.

    Args:
        value: what was found.
        allowed: what would have been accepted.
        reason: a stable name for programs.
    """

    def __init__(self, value: str, allowed: str, reason: str) -> None:
        super().__init__(value, allowed, reason)
        self.value = value
        self.allowed = allowed
        self.reason = reason

    def of(self, field: str) -> InvalidArgument:
        """The same as an error about a field of a request."""
        return InvalidArgument(field, self.value, self.allowed, reason=self.reason)


def damaged() -> Refused:
    """A file that ends too early, or says what cannot be."""
    return Refused("a damaged or truncated image", "a complete image file", DAMAGED)


def animated() -> Refused:
    return Refused("several frames", "one still image", ANIMATED)


def unsupported_mode(value: str) -> Refused:
    return Refused(value, "8-bit grey or RGB, with or without alpha", MODE)


def too_many(count: int, what: str, most: int) -> Refused:
    return Refused(f"{count} {what}", f"at most {most}", STRUCTURE)


def check_size(width: int, height: int, limits: ImageLimits) -> None:
    """Return when an image of this size is accepted.

    Raises:
        Refused: it is not.
    """
    if max(width, height) > limits.max_side_px or width * height > limits.max_pixels:
        allowed = f"at most {limits.max_side_px} px a side and {limits.max_pixels} px in all"
        raise Refused(f"{width}x{height} px", allowed, "IMAGE_TOO_LARGE")
    if min(width, height) < limits.min_side_px:
        raise Refused(f"{width}x{height} px", f"at least {limits.min_side_px} px a side", "IMAGE_TOO_SMALL")


class Metadata:
    """Counts what a file carries beside its pixels."""

    def __init__(self) -> None:
        self._bytes = 0
        self._parts = 0

    def add(self, size: int) -> None:
        """One more part of `size` bytes.

        Raises:
            Refused: that makes it too much.
        """
        self._bytes += size
        self._parts += 1
        if self._bytes > MAX_METADATA_BYTES:
            raise Refused(
                f"{self._bytes} bytes of metadata or more", f"at most {MAX_METADATA_BYTES} bytes", METADATA
            )
        if self._parts > MAX_PARTS:
            raise Refused(f"{self._parts} parts of metadata or more", f"at most {MAX_PARTS}", METADATA)


def unpack(layout: str, data: bytes, offset: int) -> tuple[int, ...]:
    """Whole numbers at a place of a file.

    Raises:
        Refused: the file ends before.
    """
    if offset < 0 or offset + struct.calcsize(layout) > len(data):
        raise damaged()
    return struct.unpack_from(layout, data, offset)
