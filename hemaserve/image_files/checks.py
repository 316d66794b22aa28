"""The one check of a file's headers, whatever its format."""

from collections.abc import Callable
from typing import Final, NamedTuple

from hemaserve.errors import InvalidArgument
from hemaserve.image_files import bmp, jpeg, png, tiff, webp
from hemaserve.image_files.facts import ImageLimits, Refused


class _Format(NamedTuple):
    name: str
    """As Pillow calls it."""
    begins: Callable[[bytes], bool]
    check: Callable[[bytes, ImageLimits], None]


_FORMATS: Final = (
    _Format("JPEG", lambda data: data.startswith(b"\xff\xd8\xff"), jpeg.check),
    _Format("PNG", lambda data: data.startswith(b"\x89PNG\r\n\x1a\n"), png.check),
    _Format("TIFF", lambda data: data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), tiff.check),
    _Format("BMP", lambda data: data.startswith(b"BM"), bmp.check),
    _Format("WEBP", lambda data: data.startswith(b"RIFF") and data[8:12] == b"WEBP", webp.check),
)

FORMATS: Final = tuple(known.name for known in _FORMATS)
"""Formats that are accepted, told apart by how a file begins and by nothing else."""


def check_file(data: bytes, *, limits: ImageLimits, field: str) -> str:
    """The format of a file whose headers are in order: sizes, structure, metadata, kind of pixels.

    Costs some microseconds and decodes nothing; what only pixels can tell is left to the decoder.

    Raises:
        InvalidArgument: the bytes are empty, no such file, damaged, or beyond `limits`.
    """
    if not data:
        raise InvalidArgument(field, "no bytes", "an image file", reason="IMAGE_EMPTY")
    if len(data) > limits.max_bytes:
        raise InvalidArgument(
            field, f"{len(data)} bytes", f"at most {limits.max_bytes} bytes", reason="IMAGE_TOO_LARGE"
        )
    for known in _FORMATS:
        if known.begins(data):
            try:
                known.check(data, limits)
            except Refused as refused:
                raise refused.of(field) from None
            return known.name
    raise InvalidArgument(
        field, "not an image that can be read", ", ".join(FORMATS), reason="IMAGE_UNREADABLE"
    )
