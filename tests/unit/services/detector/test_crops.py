"""Cells are cut with the function that training uses, and encoded as the contract says."""

import io

import numpy as np
import pytest
from PIL import Image

from hemaserve.cells import Kind
from hemaserve.crops import CropEncoding, encode_crop
from hemaserve.geometry import Box
from hemaserve.imaging import cut_crop
from services.detector.crops import CropOrder, make_crop

BOX = Box(10, 12, 60, 55)


@pytest.fixture
def image():
    return np.random.default_rng(1).integers(0, 256, (80, 100, 3), np.uint8)


def order(encoding, size_px=64):
    return CropOrder(frozenset({Kind.WBC}), encoding, size_px, 0.15)


def test_raw_pixels_are_those_of_cut_crop_row_by_row(image):
    expected = cut_crop(image, BOX, size=64, margin=0.15)
    assert make_crop(image, BOX, order(CropEncoding.RAW_RGB8)) == expected.tobytes()


def test_png_loses_nothing(image):
    data = make_crop(image, BOX, order(CropEncoding.PNG))
    file = Image.open(io.BytesIO(data))
    assert file.format == "PNG"
    np.testing.assert_array_equal(np.asarray(file), cut_crop(image, BOX, size=64, margin=0.15))


def test_jpeg_is_near_the_original_in_colour_too():
    smooth = np.stack([*np.meshgrid(np.arange(64) * 3, np.arange(64) * 3), np.full((64, 64), 90)], axis=-1)
    file = Image.open(io.BytesIO(encode_crop(smooth.astype(np.uint8), CropEncoding.JPEG)))
    assert file.format == "JPEG"
    assert np.abs(np.asarray(file).astype(int) - smooth).mean() < 2


@pytest.mark.parametrize("encoding", CropEncoding)
@pytest.mark.parametrize("size_px", [16, 96, 512])
def test_no_crop_is_larger_than_its_order_says(encoding, size_px):
    noise = np.random.default_rng(2).integers(0, 256, (size_px, size_px, 3), np.uint8)
    assert len(encode_crop(noise, encoding)) <= order(encoding, size_px).most_bytes
