"""WebP: a RIFF file of chunks (RFC 9649)."""

from hemaserve.image_files.facts import ImageLimits, Metadata, animated, check_size, damaged, unpack
from hemaserve.image_files.tiff import check_exif, exif_block

_ANIMATION = 0x02


def check(data: bytes, limits: ImageLimits) -> None:
    """Return when a WebP file is accepted.

    Raises:
        Refused: it is not.
    """
    (riff,) = unpack("<I", data, 4)
    end = min(8 + riff, len(data))
    metadata = Metadata()
    pixels = False
    at = 12
    while at + 8 <= end:
        name = data[at : at + 4]
        (length,) = unpack("<I", data, at + 4)
        if name in {b"ANIM", b"ANMF"}:
            raise animated()
        if name == b"VP8X":
            _check_extended(data, at + 8, limits)
        elif name == b"VP8 ":
            _check_lossy(data, at + 8, limits)
            pixels = True
        elif name == b"VP8L":
            _check_lossless(data, at + 8, limits)
            pixels = True
        elif name != b"ALPH":
            metadata.add(length)
        if at + 8 + length > len(data):
            raise damaged()
        if name == b"EXIF":
            check_exif(exif_block(data[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    if not pixels:
        raise damaged()


def _check_extended(data: bytes, at: int, limits: ImageLimits) -> None:
    (flags,) = unpack("B", data, at)
    if flags & _ANIMATION:
        raise animated()
    low_width, high_width, low_height, high_height = unpack("<HBHB", data, at + 4)
    check_size(1 + (low_width | high_width << 16), 1 + (low_height | high_height << 16), limits)


def _check_lossy(data: bytes, at: int, limits: ImageLimits) -> None:
    width, height = unpack("<HH", data, at + 6)
    check_size(width & 0x3FFF, height & 0x3FFF, limits)


def _check_lossless(data: bytes, at: int, limits: ImageLimits) -> None:
    signature, packed = unpack("<BI", data, at)
    if signature != 0x2F:
        raise damaged()
    check_size(1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF), limits)
