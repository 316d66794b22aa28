"""The corpus of nasty image files: the same bytes each time, each with what must become of it."""

import gzip
import io
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import numpy as np
from PIL import Image

from benchmarks.nasty.bytes_of import (
    PNG_MAGIC,
    bmp,
    encoded,
    exif,
    jpeg_segment,
    jpeg_with,
    picture,
    png,
    png_chunk,
    riff,
    tiff,
    webp_chunks,
)


class Verdict(StrEnum):
    """What must become of a file."""

    REFUSED = "refused"
    SOUND = "sound"
    """Odd, and an image after all."""
    EITHER = "either"
    """Damaged where only luck decides whether an image is left; anything but an answer in good order is wrong."""


@dataclass(frozen=True, slots=True)
class NastyFile:
    """One file of the corpus."""

    name: str
    data: bytes
    verdict: Verdict


FLIPS: Final = 4
_FRACTIONS: Final = (0.02, 0.1, 0.3, 0.5, 0.8)
_BASES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "jpeg": ("JPEG", {"quality": 90}),
    "progressive": ("JPEG", {"progressive": True}),
    "png": ("PNG", {}),
    "tiff": ("TIFF", {}),
    "lzw": ("TIFF", {"compression": "tiff_lzw"}),
    "deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "packbits": ("TIFF", {"compression": "packbits"}),
    "jpegtiff": ("TIFF", {"compression": "jpeg"}),
    "bmp": ("BMP", {}),
    "webp": ("WEBP", {}),
    "lossless": ("WEBP", {"lossless": True}),
}


def sound_files() -> dict[str, bytes]:
    """One good small image in each way of encoding that is accepted."""
    return {
        name: encoded(picture(), file_format, **options) for name, (file_format, options) in _BASES.items()
    }


def nasty_files() -> list[NastyFile]:
    """All of them, each with a name of its own."""
    files = [
        *_refused(_disguised()),
        *_refused(_pngs()),
        *_refused(_jpegs()),
        *_refused(_tiffs()),
        *_refused(_bmps()),
        *_refused(_webps()),
        *_damaged(),
        *(NastyFile(name, data, Verdict.SOUND) for name, data in _sound_after_all()),
    ]
    assert len({file.name for file in files}) == len(files)
    return files


_Files = Iterator[tuple[str, bytes]]


def _refused(files: _Files) -> Iterator[NastyFile]:
    return (NastyFile(name, data, Verdict.REFUSED) for name, data in files)


def _damaged() -> Iterator[NastyFile]:
    chance = random.Random(20)
    for name, data in sound_files().items():
        for fraction in _FRACTIONS:
            cut = data[: int(len(data) * fraction)]
            yield NastyFile(f"truncated-{name}-{fraction:g}", cut, Verdict.REFUSED)
        # What is cut off here may be no more than a trailer.
        yield NastyFile(f"truncated-{name}-last", data[:-1], Verdict.EITHER)
        for number in range(FLIPS):
            spoilt = bytearray(data)
            for _ in range(1 + 3 * number):
                spoilt[chance.randrange(len(spoilt))] ^= 1 << chance.randrange(8)
            yield NastyFile(f"flipped-{name}-{number}", bytes(spoilt), Verdict.EITHER)
        noise = chance.randbytes(2000)
        yield NastyFile(f"noise-behind-{name}-magic", data[:16] + noise, Verdict.REFUSED)
    for first, second in (("jpeg", "png"), ("png", "jpeg"), ("webp", "lzw"), ("tiff", "bmp")):
        files = sound_files()
        yield NastyFile(f"chimera-{first}-{second}", files[first][:40] + files[second][40:], Verdict.REFUSED)


def _disguised() -> _Files:
    image = picture()
    for file_format in ("GIF", "PPM", "ICO", "EPS", "TGA", "PCX", "SGI", "DDS", "JPEG2000", "ICNS"):
        yield f"format-{file_format.lower()}.jpg", encoded(image, file_format)
    laughs = "".join(
        f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' if n else '<!ENTITY l0 "ha">' for n in range(10)
    )
    yield "billion-laughs.svg", f"<?xml version='1.0'?><!DOCTYPE s [{laughs}]><svg>&l9;</svg>".encode()
    yield "outside-entity.svg", b'<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/hostname">]><svg>&x;</svg>'
    yield "script.html.png", b"<html><script>alert(1)</script></html>"
    yield "pdf", b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"
    yield "psd", b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 48, 64, 8, 3) + bytes(4000)
    yield "postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 48\n{ } loop\n"
    yield "avif", b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + bytes(200)
    yield "heic", b"\0\0\0\x18ftypheic\0\0\0\0heicmif1" + bytes(200)
    yield "jpeg-xl", b"\xff\x0a" + bytes(200)
    yield "mp4", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom" + bytes(200)
    yield "elf", b"\x7fELF\2\1\1" + bytes(200)
    yield "dicom", bytes(128) + b"DICM" + bytes(200)
    yield "fits", b"SIMPLE  =                    T".ljust(2880)
    yield "pickle", b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x8c\x07nothing\x94."
    yield "gzip-bomb", gzip.compress(bytes(10**7), mtime=0)
    yield "zip-bomb", _zip(bytes(10**7))
    yield "wave", b"RIFF" + struct.pack("<I", 200) + b"WAVE" + bytes(196)
    yield "empty", b""
    yield "one-byte", b"\xff"
    yield "text", b"Leukocytes 7.2\n" * 20
    yield "utf16", "\ufeffLeukocytes".encode("utf-16")
    yield "zeros", bytes(2**20)
    yield "ones", b"\xff" * 2**20
    for name, magic in (
        ("jpeg", b"\xff\xd8\xff"),
        ("png", PNG_MAGIC),
        ("tiff", b"II*\0"),
        ("motorola-tiff", b"MM\0*"),
        ("bmp", b"BM"),
        ("webp", b"RIFF\0\0\0\0WEBP"),
    ):
        yield f"only-magic-{name}", magic
        yield f"zeros-behind-{name}-magic", magic + bytes(4096)
        yield f"gif-behind-{name}-magic", magic + encoded(image, "GIF")


def _zip(content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("bomb"), content)
    return file.getvalue()


def _pngs() -> _Files:
    nothing = b"\0"
    for width, height in ((0, 48), (64, 0), (1, 1), (15, 100), (100, 15), (16_385, 16), (50_000, 50_000)):
        yield f"png-{width}x{height}", png(width, height, pixels=nothing)
    yield "png-2-31", png(2**31 - 1, 2**31 - 1, pixels=nothing)
    yield "png-negative", png(2**32 - 1, 2**32 - 1, pixels=nothing)
    yield "png-8000x8000-of-one-row", png(8000, 8000, pixels=bytes(24_001))
    yield "png-interlaced-without-pixels", png(4000, 4000, interlace=1, pixels=nothing)
    for colour, name in ((0, "grey"), (2, "rgb"), (4, "grey-alpha"), (6, "rgba")):
        yield f"png-16-bit-{name}", png(64, 48, bits=16, colour=colour)
    yield "png-colour-7", png(64, 48, colour=7)
    yield "png-3-bit", png(64, 48, bits=3, colour=0)
    # Their last rows never come: what a decoder unpacks before it sees that is the point.
    few = bytes(1000)
    bomb = zlib.compress(bytes(20 * 2**20), 9)
    for chunk, head in ((b"iCCP", b"p\0\0"), (b"zTXt", b"k\0\0"), (b"iTXt", b"k\0\1\0\0\0")):
        yield f"png-{chunk.decode()}-bomb", png(64, 48, extra=png_chunk(chunk, head + bomb), pixels=few)
    yield "png-many-zTXt-bombs", png(64, 48, extra=png_chunk(b"zTXt", b"k\0\0" + bomb) * 50, pixels=few)
    yield "png-giant-tEXt", png(64, 48, extra=png_chunk(b"tEXt", b"k\0" + bytes(5 * 2**20)))
    yield "png-giant-iCCP", png(64, 48, extra=png_chunk(b"iCCP", b"p\0\0" + bytes(5 * 2**20)))
    yield "png-10000-texts", png(64, 48, extra=png_chunk(b"tEXt", b"k\0v") * 10_000)
    yield "png-giant-eXIf", png(64, 48, extra=png_chunk(b"eXIf", exif() + bytes(2**17)))
    yield "png-bad-eXIf", png(64, 48, extra=png_chunk(b"eXIf", b"nonsense"))
    yield "png-turned-9", png(64, 48, extra=png_chunk(b"eXIf", exif(9)))
    yield "png-claims-2-gb-chunk", PNG_MAGIC + png(64, 48)[8:33] + struct.pack(">I", 2**31 - 1) + b"IDAT"
    yield "png-claims-2-gb-text", PNG_MAGIC + png(64, 48)[8:33] + struct.pack(">I", 2**31 - 1) + b"tEXt"
    yield "png-wrong-checksum", png(64, 48)[:29] + b"\0\0\0\0" + png(64, 48)[33:]
    yield "png-no-header", PNG_MAGIC + png(64, 48)[33:]
    yield "png-no-pixels", PNG_MAGIC + png(64, 48)[8:33] + png_chunk(b"IEND", b"")
    yield "png-pixels-are-no-zlib", PNG_MAGIC + png(64, 48)[8:33] + png_chunk(b"IDAT", b"junk" * 100)
    yield "png-palette-missing", png(64, 48, colour=3, pixels=nothing)
    frames = [picture(seed=1), picture(seed=2)]
    yield "apng", encoded(picture(), "PNG", save_all=True, append_images=frames)
    yield "png-acTL-of-one-frame", png(64, 48, extra=png_chunk(b"acTL", struct.pack(">II", 1, 0)))


def _jpegs() -> _Files:
    sound = encoded(picture(), "JPEG")
    frame_at = sound.index(b"\xff\xc0")
    scan_at = sound.index(b"\xff\xda")

    def frame(**changes: int) -> bytes:
        bits, height, width, channels = struct.unpack_from(">BHHB", sound, frame_at + 4)
        told = {"marker": 0xC0, "bits": bits, "height": height, "width": width, "channels": channels}
        told |= changes
        head = struct.pack(
            ">BBHBHHB",
            0xFF,
            told["marker"],
            8 + 9,
            *(told[k] for k in ("bits", "height", "width", "channels")),
        )
        return sound[:frame_at] + head + sound[frame_at + 10 :]

    for width, height in ((0, 48), (64, 0), (8, 8), (65_535, 65_535), (16_385, 48)):
        yield f"jpeg-{width}x{height}", frame(width=width, height=height)
    for channels in (0, 2, 4, 255):
        yield f"jpeg-{channels}-channels", frame(channels=channels)
    yield "jpeg-12-bit", frame(bits=12)
    for marker, name in (
        (0xC3, "lossless"),
        (0xC9, "arithmetic"),
        (0xCA, "arithmetic-progressive"),
        (0xC5, "differential"),
    ):
        yield f"jpeg-{name}", frame(marker=marker)
    yield "jpeg-cmyk", encoded(picture().convert("CMYK"), "JPEG")
    progressive = encoded(picture(1024, 1024), "JPEG", progressive=True)
    last_scan = progressive.rindex(b"\xff\xda")
    yield "jpeg-500-scans", progressive[:-2] + progressive[last_scan:-2] * 500 + b"\xff\xd9"
    yield "jpeg-101-scans", progressive[:-2] + progressive[last_scan:-2] * 101 + b"\xff\xd9"
    yield "jpeg-8000x8000-of-few-bytes", frame(width=8000, height=8000)
    yield "jpeg-two-frames", sound[:scan_at] + sound[frame_at : frame_at + 19] + sound[scan_at:]
    yield "jpeg-no-frame", sound[:frame_at] + sound[frame_at + 19 :]
    yield "jpeg-no-scan", sound[:scan_at] + b"\xff\xd9"
    yield "jpeg-ends-at-once", b"\xff\xd8\xff\xd9" + bytes(100)
    yield "jpeg-segment-of-nothing", sound[:2] + b"\xff\xe0\0\0" + sound[2:]
    yield "jpeg-segment-past-the-end", sound[:2] + b"\xff\xe0\xff\xff" + sound[2:40]
    yield "jpeg-10000-comments", jpeg_with(jpeg_segment(0xFE, b"x") * 10_000)
    yield "jpeg-5-mb-profile", jpeg_with(jpeg_segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(65_000)) * 80)
    yield "jpeg-5-mb-of-comments", jpeg_with(jpeg_segment(0xFE, bytes(65_000)) * 80)
    yield "jpeg-fill-bytes", sound[:2] + b"\xff" * 100_000 + sound[2:]
    for orientation in (9, 255, 65_535):
        yield f"jpeg-turned-{orientation}", jpeg_with(_app1(exif(orientation)))
    yield "jpeg-bad-exif", jpeg_with(_app1(b"nonsense"))
    yield "jpeg-exif-outside", jpeg_with(_app1(b"II*\0\xff\xff\xff\x7f"))
    yield "jpeg-exif-cut-off", jpeg_with(_app1(exif(entries=1)[:12]))
    yield "jpeg-exif-5000-tags", jpeg_with(_app1(exif(entries=5000)))
    wrong = b"II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, 2, 2**32 - 1, 0)
    yield "jpeg-exif-orientation-of-4-gb", jpeg_with(_app1(wrong + bytes(4)))
    yield (
        "jpeg-huffman-nonsense",
        sound[:scan_at] + jpeg_segment(0xC4, b"\x00" + b"\xff" * 16) + sound[scan_at:],
    )


def _app1(block: bytes) -> bytes:
    return jpeg_segment(0xE1, b"Exif\0\0" + block)


def _tiffs() -> _Files:
    few = b"few bytes"
    for width, height in ((0, 48), (64, 0), (1, 1), (2**31, 2**31), (50_000, 50_000), (16_385, 16)):
        yield f"tiff-{width}x{height}", tiff(size=(width, height), strip=few)
    deflated = zlib.compress(bytes(10**6), 9)
    for compression, name in (
        (5, "lzw"),
        (8, "deflate"),
        (32946, "old-deflate"),
        (32773, "packbits"),
        (7, "jpeg"),
    ):
        yield f"tiff-{name}-of-next-to-nothing", tiff({259: (3, [compression])}, size=(8000, 8000), strip=few)
    yield "tiff-deflate-bomb", tiff({259: (3, [8])}, size=(50_000, 50_000), strip=deflated)
    yield "tiff-deflate-short", tiff({259: (3, [8])}, size=(4000, 4000), strip=deflated * 50)
    for compression in (2, 3, 4, 6, 34712, 34925, 34933, 50000, 50001, 65535):
        yield f"tiff-compression-{compression}", tiff({259: (3, [compression])})
    for bits in (12, 16, 32, 64):
        yield f"tiff-{bits}-bit", tiff({258: (3, [bits] * 3)}, strip=bytes(64 * 48 * 3 * 8))
    yield "tiff-float", encoded(Image.fromarray(np.zeros((48, 64), np.float32)), "TIFF")
    yield "tiff-float-of-8-bits", tiff({339: (3, [3, 3, 3])})
    yield "tiff-signed", tiff({339: (3, [2, 2, 2])})
    yield "tiff-16-bit-grey", encoded(Image.fromarray(np.zeros((48, 64), np.uint16)), "TIFF")
    yield "tiff-cmyk", encoded(picture().convert("CMYK"), "TIFF")
    yield "tiff-lab", tiff({262: (3, [8])})
    yield "tiff-0-channels", tiff({277: (3, [0])})
    yield "tiff-300-channels", tiff({277: (3, [300]), 258: (3, [8] * 300)})
    yield "tiff-pages", encoded(picture(), "TIFF", save_all=True, append_images=[picture(seed=1)])
    yield "tiff-next-page-is-itself", tiff(next_offset=8 + 64 * 48 * 3)
    yield "tiff-next-page-outside", tiff(next_offset=2**32 - 1)
    yield "tiff-directory-outside", b"II*\0" + struct.pack("<I", 2**31)
    yield "tiff-directory-in-header", b"II*\0" + struct.pack("<I", 0) + bytes(100)
    yield "tiff-60000-tags", b"II*\0" + struct.pack("<IH", 8, 60_000) + bytes(12 * 60_000)
    yield "tiff-strip-outside", tiff({273: (4, [2**31])})
    yield "tiff-strip-too-long", tiff({279: (4, [2**31])})
    yield "tiff-strips-and-sizes-differ", tiff({273: (4, [8, 8, 8])})
    yield "tiff-300000-strips", tiff({273: (4, [8] * 300_000), 279: (4, [1] * 300_000), 278: (4, [1])})
    yield "tiff-no-strips", tiff(drop=[273, 279])
    yield "tiff-no-width", tiff(drop=[256])
    yield "tiff-width-of-many", tiff({256: (4, [64] * 200_000)})
    for side in (0, 2**31, 65_536):
        tiles = {322: (4, [side]), 323: (4, [side]), 324: (4, [8]), 325: (4, [64 * 48 * 3])}
        yield f"tiff-tiles-of-{side}", tiff(tiles, drop=[273, 278, 279])
    yield "tiff-turned-9", tiff({274: (3, [9])})
    yield "tiff-giant-description", tiff({270: (4, [0] * 1_500_000)})
    yield "tiff-big", b"II+\0\x08\0\0\0\x10\0\0\0\0\0\0\0" + bytes(100)


def _bmps() -> _Files:
    for width, height in ((0, 48), (64, 0), (8, 8), (50_000, 50_000), (2**31 - 1, 16), (-64, 48)):
        yield f"bmp-{width}x{height}", bmp(width, height, pixels=bytes(100))
    yield "bmp-8000x8000-of-nothing", bmp(8000, 8000, pixels=bytes(100))
    yield "bmp-rle8", bmp(64, 48, bits=8, compression=1, pixels=b"\x40\x07" * 48 + b"\0\1")
    yield "bmp-rle8-jumps", bmp(8000, 8000, bits=8, compression=1, pixels=b"\0\2\xff\xff" * 100)
    yield "bmp-rle4", bmp(64, 48, bits=4, compression=2, pixels=b"\x40\x07" * 48 + b"\0\1")
    yield "bmp-jpeg-inside", bmp(64, 48, compression=4)
    for bits in (0, 2, 16, 64):
        yield (
            f"bmp-{bits}-bit",
            bmp(64, 48, bits=bits or 24).replace(
                struct.pack("<HH", 1, bits or 24), struct.pack("<HH", 1, bits), 1
            ),
        )
    sound = bmp(64, 48)
    yield "bmp-header-of-4-gb", sound[:14] + b"\xff\xff\xff\xff" + sound[18:]
    yield "bmp-header-of-nothing", sound[:14] + b"\0\0\0\0" + sound[18:]
    yield "bmp-pixels-outside", sound[:10] + struct.pack("<I", 2**31) + sound[14:]


def _webps() -> _Files:
    frames = [picture(seed=1), picture(seed=2)]
    yield "webp-animated", encoded(picture(), "WEBP", save_all=True, append_images=frames)
    sound = encoded(picture(), "WEBP")
    ((name, data),) = webp_chunks(sound)
    size = b"\x3f\0\0\x2f\0\0"
    yield (
        "webp-giant-profile",
        riff((b"VP8X", b"\x20\0\0\0" + size), (b"ICCP", bytes(5 * 2**20)), (name, data)),
    )
    yield "webp-giant-exif", riff((b"VP8X", b"\x08\0\0\0" + size), (name, data), (b"EXIF", bytes(2**17)))
    yield "webp-bad-exif", riff((b"VP8X", b"\x08\0\0\0" + size), (name, data), (b"EXIF", b"nonsense"))
    yield "webp-turned-9", riff((b"VP8X", b"\x08\0\0\0" + size), (name, data), (b"EXIF", exif(9)))
    yield "webp-10000-chunks", riff((b"VP8X", b"\0\0\0\0" + size), *[(b"JUNK", b"x")] * 10_000, (name, data))
    yield "webp-says-animated", riff((b"VP8X", b"\x02\0\0\0" + size), (name, data))
    yield "webp-canvas-of-16-million", riff((b"VP8X", b"\0\0\0\0" + b"\xff" * 6), (name, data))
    yield "webp-canvas-unlike-image", riff((b"VP8X", b"\0\0\0\0\xff\x01\0\xff\x01\0"), (name, data))
    yield "webp-no-pixels", riff((b"VP8X", b"\0\0\0\0" + size))
    yield "webp-of-nothing", riff((b"VP8 ", b""))
    yield "webp-16383x16383", riff((b"VP8 ", data[:6] + b"\xff\x3f\xff\x3f" + data[10:]))
    yield "webp-lossless-of-nothing", riff((b"VP8L", b"\x2f" + bytes(20)))
    yield "webp-lossless-16384x16384", riff((b"VP8L", b"\x2f\xff\xff\xff\x0f" + bytes(20)))
    yield "webp-chunk-of-4-gb", b"RIFF\xff\xff\xff\xffWEBPVP8 \xff\xff\xff\xff" + data


def _sound_after_all() -> _Files:
    sound = encoded(picture(), "JPEG")
    yield "jpeg-and-zip", sound + _zip(b"content")
    yield "png-and-html", encoded(picture(), "PNG") + b"<script>alert(1)</script>"
    yield "jpeg-turned-0", jpeg_with(_app1(exif(0)))
    yield "jpeg-exif-loop", jpeg_with(_app1(exif(next_offset=8)))
    yield "jpeg-nonsense-profile", jpeg_with(jpeg_segment(0xE2, b"ICC_PROFILE\0\1\1nonsense"))
    yield "jpeg-1-mb-profile", jpeg_with(jpeg_segment(0xE2, b"ICC_PROFILE\0\1\1" + bytes(65_000)) * 16)
    yield "png-gamma-of-nothing", png(64, 48, extra=png_chunk(b"gAMA", bytes(4)))
    yield "png-unknown-chunk", png(64, 48, extra=png_chunk(b"teSt", bytes(100)))
    yield "bmp-top-down", bmp(64, -48)
    yield "webp-nonsense-profile", _webp_with_profile(b"nonsense")
    yield "mpo", encoded(picture(), "MPO", save_all=True, append_images=[picture(seed=1)])
    yield "tiff-tags-unsorted", encoded(picture(), "TIFF", description="x" * 1000)
    yield "png-wide", png(4000, 16)


def _webp_with_profile(profile: bytes) -> bytes:
    return encoded(picture(), "WEBP", icc_profile=profile)
