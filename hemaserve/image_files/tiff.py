"""TIFF: a chain of directories of tags (TIFF 6.0, Adobe 1992). EXIF blocks are written the same way."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from hemaserve.image_files.facts import (
    EXIF,
    MAX_EXIF_BYTES,
    METADATA,
    STRUCTURE,
    ImageLimits,
    Metadata,
    Refused,
    animated,
    check_size,
    damaged,
    too_many,
    unpack,
    unsupported_mode,
)

_ORDERS: Final = {b"II*\0": "<", b"MM\0*": ">"}
_TYPE_BYTES: Final = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_WHOLE_NUMBERS: Final = {1: "B", 3: "H", 4: "I"}

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _STRIP_BYTES = 273, 274, 277, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES, _SAMPLE_FORMAT = 322, 323, 324, 325, 339
_PIXEL_TAGS: Final = {_STRIP_OFFSETS, _STRIP_BYTES, _TILE_OFFSETS, _TILE_BYTES}

_COMPRESSIONS: Final = {1: 1, 5: 1500, 7: 2000, 8: 1100, 32946: 1100, 32773: 130}
"""None, LZW, JPEG, deflate (two numbers) and PackBits, each with how many bytes it can make of one at the very most."""
_PHOTOMETRICS: Final = (0, 1, 2, 3, 6)
"""White is zero, black is zero, RGB, palette, YCbCr."""

_MAX_ENTRIES: Final = 512
_MAX_PIECES: Final = 2**17
_MAX_SAMPLES: Final = 4
_FREE_TILE_PX: Final = 2**20
"""A tile of so many pixels is accepted in the smallest image."""


class _Entry(NamedTuple):
    tag: int
    kind: int
    values: int
    """How many."""
    offset: int
    """Where its values are."""


class _Directory(NamedTuple):
    data: bytes
    order: str
    entries: dict[int, _Entry]
    next_offset: int

    def numbers(self, tag: int, *, most: int) -> tuple[int, ...]:
        """The whole numbers of a tag; none when it is absent."""
        entry = self.entries.get(tag)
        if entry is None:
            return ()
        if entry.kind not in _WHOLE_NUMBERS or entry.values == 0:
            raise damaged()
        if entry.values > most:
            raise too_many(entry.values, f"values of TIFF tag {tag}", most)
        return unpack(f"{self.order}{entry.values}{_WHOLE_NUMBERS[entry.kind]}", self.data, entry.offset)

    def number(self, tag: int, default: int | None = None) -> int:
        """The first of a tag's numbers."""
        found = self.numbers(tag, most=_MAX_PIECES)
        if found:
            return found[0]
        if default is None:
            raise damaged()
        return default


def check(data: bytes, limits: ImageLimits) -> None:
    """Return when the one image of a TIFF file is accepted.

    Raises:
        Refused: it is not.
    """
    if data[2:4] in (b"+\0", b"\0+"):
        raise Refused("a BigTIFF", "a classic TIFF", STRUCTURE)
    directory = _directory(data)
    width, height = directory.number(_WIDTH), directory.number(_HEIGHT)
    check_size(width, height, limits)
    if directory.next_offset:
        raise animated()
    _check_mode(directory)
    _check_metadata(directory)
    _check_orientation(directory)
    _check_pieces(directory, width, height)


def check_exif(block: bytes) -> None:
    """Return when an EXIF block, which begins with a TIFF header, says how its image lies or says nothing.

    Raises:
        Refused: it is too large, cannot be read, or turns the image in a way that there is not.
    """
    if len(block) > MAX_EXIF_BYTES:
        raise Refused(f"{len(block)} bytes of EXIF", f"at most {MAX_EXIF_BYTES} bytes", METADATA)
    try:
        _check_orientation(_directory(block))
    except Refused as refused:
        if refused.reason == EXIF:
            raise
        raise Refused("EXIF that cannot be read", "sound EXIF, or none", EXIF) from None


def _directory(data: bytes) -> _Directory:
    order = _ORDERS.get(data[:4])
    if order is None:
        raise damaged()
    (start,) = unpack(f"{order}I", data, 4)
    (count,) = unpack(f"{order}H", data, start)
    if count > _MAX_ENTRIES:
        raise too_many(count, "TIFF tags", _MAX_ENTRIES)
    entries = {entry.tag: entry for entry in _entries(data, order, start + 2, count)}
    end = start + 2 + 12 * count
    # EXIF blocks often leave out the pointer to a next directory.
    following = unpack(f"{order}I", data, end)[0] if end + 4 <= len(data) else 0
    return _Directory(data, order, entries, following)


def _entries(data: bytes, order: str, start: int, count: int) -> Iterator[_Entry]:
    for index in range(count):
        at = start + 12 * index
        tag, kind, values = unpack(f"{order}HHI", data, at)
        size = _TYPE_BYTES.get(kind, 1) * values
        yield _Entry(tag, kind, values, at + 8 if size <= 4 else unpack(f"{order}I", data, at + 8)[0])


def _check_mode(directory: _Directory) -> None:
    compression = directory.number(_COMPRESSION, 1)
    if compression not in _COMPRESSIONS:
        allowed = "none, LZW, JPEG, deflate or PackBits"
        raise Refused(f"TIFF compression {compression}", allowed, STRUCTURE)
    samples = directory.number(_SAMPLES, 1)
    if not 1 <= samples <= _MAX_SAMPLES:
        raise unsupported_mode(f"{samples} channels")
    if (photometric := directory.number(_PHOTOMETRIC, 1)) not in _PHOTOMETRICS:
        raise unsupported_mode(f"TIFF colours {photometric}")
    bits = directory.numbers(_BITS, most=16) or (1,)
    if not (set(bits) == {8} or (samples == 1 and bits[0] in {1, 2, 4})):
        raise unsupported_mode(f"{max(bits)} bits a channel")
    if set(directory.numbers(_SAMPLE_FORMAT, most=16)) - {1, 4}:
        raise unsupported_mode("signed or floating-point channels")


def _check_metadata(directory: _Directory) -> None:
    metadata = Metadata()
    for entry in directory.entries.values():
        if entry.tag not in _PIXEL_TAGS:
            metadata.add(_TYPE_BYTES.get(entry.kind, 1) * entry.values)


def _check_orientation(directory: _Directory) -> None:
    # Cameras that do not know write 0.
    if not 0 <= (orientation := directory.number(_ORIENTATION, 1)) <= 8:
        raise Refused(f"orientation {orientation}", "1 to 8", EXIF)


def _check_pieces(directory: _Directory, width: int, height: int) -> None:
    """Strips or tiles: not too many, all within the file, and enough bytes in them for the pixels."""
    tiled = _TILE_WIDTH in directory.entries or _TILE_OFFSETS in directory.entries
    if tiled:
        tile = directory.number(_TILE_WIDTH) * directory.number(_TILE_HEIGHT)
        if not 0 < tile <= max(_FREE_TILE_PX, 4 * width * height):
            raise Refused(f"tiles of {tile} px", "tiles that are not larger than the image", STRUCTURE)
    offsets = directory.numbers(_TILE_OFFSETS if tiled else _STRIP_OFFSETS, most=_MAX_PIECES)
    # Some old writers leave the sizes of a single strip out.
    sizes = directory.numbers(_TILE_BYTES if tiled else _STRIP_BYTES, most=_MAX_PIECES)
    if not offsets or (sizes and len(sizes) != len(offsets)):
        raise damaged()
    length = len(directory.data)
    stored = 0
    for offset, size in zip(offsets, sizes or (length,), strict=False):
        if offset >= length or (sizes and offset + size > length):
            raise damaged()
        stored += size
    bits = min(directory.numbers(_BITS, most=16) or (1,)) * directory.number(_SAMPLES, 1)
    # A third, because YCbCr may store colours for every fourth pixel only.
    if stored * _COMPRESSIONS[directory.number(_COMPRESSION, 1)] < width * height * bits // 8 // 3:
        raise damaged()


def exif_block(payload: bytes) -> bytes:
    """An EXIF block without the prefix that JPEG gives it, which some writers give it elsewhere too."""
    return payload[6:] if payload.startswith(b"Exif\0\0") else payload
