"""Image files put together byte by byte, so that they can say what no encoder would write."""

import io
import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from PIL import Image

PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"


def picture(width: int = 64, height: int = 48, seed: int = 0) -> Image.Image:
    """Smooth colours, another set of them for each seed."""
    corners = np.random.default_rng(seed).integers(0, 256, (3, 3, 3), np.uint8)
    return Image.fromarray(corners).resize((width, height), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    """The image as an encoder writes it."""
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def png_chunk(name: bytes, data: bytes) -> bytes:
    """A chunk of a PNG with its right checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    width: int,
    height: int,
    *,
    bits: int = 8,
    colour: int = 2,
    interlace: int = 0,
    extra: bytes = b"",
    pixels: bytes | None = None,
) -> bytes:
    """A PNG of black pixels, or of these, with more chunks before them."""
    if pixels is None:
        channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
        pixels = (b"\0" + bytes((width * channels * bits + 7) // 8)) * height
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, interlace)
    body = png_chunk(b"IHDR", header) + extra
    body += png_chunk(b"IDAT", zlib.compress(pixels, 9)) + png_chunk(b"IEND", b"")
    return PNG_MAGIC + body


def jpeg_segment(marker: int, data: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def jpeg_with(*segments: bytes, base: bytes | None = None) -> bytes:
    """A sound JPEG with more segments right after its start."""
    sound = encoded(picture(), "JPEG") if base is None else base
    return sound[:2] + b"".join(segments) + sound[2:]


def exif(orientation: int = 1, *, entries: int = 1, next_offset: int = 0) -> bytes:
    """An EXIF block without JPEG's prefix."""
    entry = struct.pack("<HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"II*\0" + struct.pack("<IH", 8, entries) + entry * entries + struct.pack("<I", next_offset)


def tiff(
    changes: Mapping[int, tuple[int, Sequence[int]]] = {},
    *,
    size: tuple[int, int] = (64, 48),
    strip: bytes | None = None,
    drop: Iterable[int] = (),
    next_offset: int = 0,
) -> bytes:
    """A little-endian RGB TIFF of one strip, which begins at byte 8, with some tags changed: (type, values)."""
    width, height = size
    strip = bytes(width * height * 3) if strip is None else strip
    tags: dict[int, tuple[int, Sequence[int]]] = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [8, 8, 8]),
        259: (3, [1]),
        262: (3, [2]),
        273: (4, [8]),
        277: (3, [3]),
        278: (4, [height]),
        279: (4, [len(strip)]),
    } | dict(changes)
    for tag in drop:
        tags.pop(tag, None)
    values_at = 8 + len(strip) + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag in sorted(tags):
        kind, numbers = tags[tag]
        packed = struct.pack(f"<{len(numbers)}{'HI'[kind == 4]}", *numbers)
        if len(packed) > 4:
            where = struct.pack("<I", values_at + len(values))
            values += packed
        else:
            where = packed.ljust(4, b"\0")
        entries += struct.pack("<HHI", tag, kind, len(numbers)) + where
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", next_offset)
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + directory + values


def bmp(
    width: int, height: int, *, bits: int = 24, compression: int = 0, pixels: bytes | None = None
) -> bytes:
    """A BMP of black pixels, or of these."""
    if pixels is None:
        pixels = bytes((width * bits + 31) // 32 * 4 * abs(height))
    palette = bytes(4 * 2**bits) if bits <= 8 else b""
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(pixels), 0, 0, 0, 0)
    offset = 14 + len(header) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(pixels), 0, 0, offset) + header + palette + pixels


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP of these chunks."""
    body = b"".join(
        name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2) for name, data in chunks
    )
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def webp_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a sound WebP."""
    chunks, at = [], 12
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 4)
        chunks.append((data[at : at + 4], data[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    return chunks
