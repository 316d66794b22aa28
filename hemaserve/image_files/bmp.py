"""BMP: one header of several generations (Microsoft, BITMAPINFOHEADER and its kin)."""

from typing import Final

from hemaserve.image_files.facts import (
    STRUCTURE,
    ImageLimits,
    Refused,
    check_size,
    damaged,
    unpack,
    unsupported_mode,
)

_HEADERS: Final = (12, 40, 52, 56, 64, 108, 124)
_COMPRESSIONS: Final = (0, 3)
"""None, and none with masks that say where a pixel's channels are."""
_BITS: Final = (1, 4, 8, 24, 32)


def check(data: bytes, limits: ImageLimits) -> None:
    """Return when a BMP file is accepted.

    Raises:
        Refused: it is not.
    """
    offset, header = unpack("<II", data, 10)
    if header not in _HEADERS:
        raise damaged()
    if header == 12:
        width, height, _, bits = unpack("<HHHH", data, 18)
        compression = 0
    else:
        width, height, _, bits, compression = unpack("<iiHHI", data, 18)
    height = abs(height)  # negative: rows from the top
    check_size(width, height, limits)
    if bits not in _BITS:
        raise unsupported_mode(f"{bits} bits a pixel")
    if compression not in _COMPRESSIONS:
        # Run lengths are decoded by an interpreter, slowly; no microscope writes them.
        raise Refused(f"BMP compression {compression}", "no compression", STRUCTURE)
    row = (width * bits + 31) // 32 * 4
    if offset + row * height > len(data):
        raise damaged()
