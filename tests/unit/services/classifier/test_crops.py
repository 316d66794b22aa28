"""From the crops of a request to pixels."""

import asyncio
import io
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hemaserve.crops import CropEncoding
from hemaserve.errors import InvalidArgument
from hemaserve.imaging import resize
from services.classifier.crops import CropLimits, CropReader, EncodedCrop
from services.runtime.decoders import Decoders

LIMITS = CropLimits(min_side_px=16, max_side_px=256)
LOOP = asyncio.new_event_loop()
DECODERS = Decoders(1)
READER = CropReader(DECODERS, LIMITS)


@pytest.fixture(scope="module", autouse=True)
def _decoders():
    yield
    LOOP.run_until_complete(DECODERS.close())
    LOOP.close()


def noise(width, height=None, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height or width, width, 3), np.uint8)


def file_of(pixels, form="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form, **options)
    return buffer.getvalue()


def crop(data, size_px=0, encoding=CropEncoding.PNG):
    return EncodedCrop("cells[3].crop", size_px, encoding, data)


def raw(pixels):
    return crop(pixels.tobytes(), len(pixels), CropEncoding.RAW_RGB8)


def read(encoded, size=96):
    return LOOP.run_until_complete(READER.read_one(encoded, size=size))


def test_raw_pixels_of_the_models_size_arrive_untouched():
    pixels = noise(96)
    np.testing.assert_array_equal(read(raw(pixels)), pixels)


def test_a_png_arrives_untouched():
    pixels = noise(96)
    np.testing.assert_array_equal(read(crop(file_of(pixels))), pixels)


def test_a_jpeg_arrives_nearly_untouched():
    pixels = resize(noise(8), (96, 96))
    decoded = read(crop(file_of(pixels, "JPEG", quality=95), 96, CropEncoding.JPEG))
    assert np.abs(decoded.astype(int) - pixels).mean() < 4


@pytest.mark.parametrize("side", [16, 80, 97, 256])
def test_a_crop_of_another_size_is_scaled_as_all_images_are(side):
    pixels = noise(side)
    expected = resize(pixels, (96, 96))
    np.testing.assert_array_equal(read(raw(pixels)), expected)
    np.testing.assert_array_equal(read(crop(file_of(pixels), side)), expected)


@pytest.mark.parametrize(
    ("encoded", "field"),
    [
        (crop(b"x", 96, None), "cells[3].crop.encoding"),
        (crop(b"", 96, CropEncoding.RAW_RGB8), "cells[3].crop.data"),
        (crop(b"", 0, CropEncoding.PNG), "cells[3].crop.data"),
        (crop(bytes(96 * 96 * 3 - 1), 96, CropEncoding.RAW_RGB8), "cells[3].crop.data"),
        (crop(bytes(96 * 96 * 3 + 1), 96, CropEncoding.RAW_RGB8), "cells[3].crop.data"),
        (crop(bytes(3), 0, CropEncoding.RAW_RGB8), "cells[3].crop.size_px"),
        (crop(bytes(15 * 15 * 3), 15, CropEncoding.RAW_RGB8), "cells[3].crop.size_px"),
        (crop(bytes(3), 2**32 - 1, CropEncoding.RAW_RGB8), "cells[3].crop.size_px"),
        (crop(b"no image at all"), "cells[3].crop.data"),
        (crop(file_of(noise(96))[:200]), "cells[3].crop.data"),
        (crop(file_of(noise(96), "JPEG")), "cells[3].crop.data"),
        (crop(file_of(noise(96), "BMP")), "cells[3].crop.data"),
        (crop(file_of(noise(96), "PNG"), 0, CropEncoding.JPEG), "cells[3].crop.data"),
        (crop(file_of(noise(96, 80))), "cells[3].crop.data"),
        (crop(file_of(noise(8))), "cells[3].crop.data"),
        (crop(file_of(noise(257))), "cells[3].crop.data"),
        (crop(file_of(noise(16)) + bytes(256 * 256 * 3 + 2**16)), "cells[3].crop.data"),
        (crop(file_of(noise(96)), 95), "cells[3].crop.size_px"),
    ],
)
def test_a_bad_crop_is_refused_by_the_name_of_its_field(encoded, field):
    with pytest.raises(InvalidArgument) as refusal:
        read(encoded)
    assert refusal.value.field == field
    assert refusal.value.allowed


def test_a_header_that_claims_many_pixels_is_refused_before_they_are_decoded():
    huge = bytearray(file_of(noise(16)))
    huge[16:24] = (50_000).to_bytes(4, "big") * 2
    huge[29:33] = zlib.crc32(huge[12:29]).to_bytes(4, "big")
    with pytest.raises(InvalidArgument, match=r"50000x50000 px|more pixels"):
        read(crop(bytes(huge)))


@given(st.binary(max_size=400), st.sampled_from(CropEncoding), st.integers(0, 300))
def test_any_bytes_give_pixels_or_a_refusal(data, encoding, size_px):
    prefix = {CropEncoding.PNG: b"\x89PNG\r\n\x1a\n", CropEncoding.JPEG: b"\xff\xd8\xff"}.get(encoding, b"")
    try:
        pixels = read(crop(prefix + data, size_px, encoding), size=32)
    except InvalidArgument:
        return
    assert pixels.shape == (32, 32, 3)
    assert pixels.dtype == np.uint8
