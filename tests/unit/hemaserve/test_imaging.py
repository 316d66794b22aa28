"""Decoding is safe and exact; letterboxing can be undone; crops are centred squares wherever the cell lies."""

import io
import resource
import struct
import sys
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from hemaserve.errors import InvalidArgument
from hemaserve.geometry import Box
from hemaserve.imaging import ImageLimits, cut_crop, decode, letterbox

# Pillow warns of oddities in files that it then refuses or reads.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")


def encode(image: Image.Image, file_format: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def picture(width: int = 48, height: int = 32, seed: int = 0) -> Image.Image:
    """Smooth colours with a different one in each corner, so that turning it is noticed."""
    corners = np.random.default_rng(seed).integers(0, 256, (2, 2, 3), np.uint8)
    return Image.fromarray(corners).resize((width, height), Image.Resampling.BICUBIC)


def png(width: int, height: int, *, bits: int = 8, colour: int = 2, pixels: bytes = b"") -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def refusal(data: bytes, **options) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        decode(data, **options)
    return caught.value


class TestWhatIsRead:
    @pytest.mark.parametrize(
        ("file_format", "options"),
        [
            ("PNG", {}),
            ("PNG", {"interlace": 1}),
            ("BMP", {}),
            ("TIFF", {}),
            ("TIFF", {"compression": "tiff_lzw"}),
            ("TIFF", {"compression": "tiff_adobe_deflate"}),
            ("WEBP", {"lossless": True}),
        ],
    )
    def test_lossless_formats_come_back_exactly(self, file_format, options):
        image = picture()
        assert np.array_equal(decode(encode(image, file_format, **options)), np.asarray(image))

    @pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 2}, {"optimize": True}])
    def test_jpegs_come_back_nearly(self, options):
        image = picture()
        decoded = decode(encode(image, "JPEG", quality=95, **options)).astype(int)
        assert np.abs(decoded - np.asarray(image)).mean() < 3

    @pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP", "JPEG", "WEBP"])
    def test_grey_becomes_three_equal_channels(self, file_format):
        grey = picture().convert("L")
        decoded = decode(encode(grey, file_format))
        assert decoded.shape == (32, 48, 3)
        assert decoded.dtype == np.uint8
        assert int(np.ptp(decoded.astype(int), axis=2).max()) <= 2
        assert np.abs(decoded[..., 0].astype(int) - np.asarray(grey)).mean() < 3

    def test_one_bit_becomes_black_and_white(self):
        decoded = decode(encode(picture().convert("1"), "PNG"))
        assert set(np.unique(decoded)) <= {0, 255}

    def test_a_palette_is_looked_up(self):
        image = picture().quantize(16)
        assert np.array_equal(decode(encode(image, "PNG")), np.asarray(image.convert("RGB")))

    @pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
    @pytest.mark.parametrize(("alpha", "expected"), [(0, 255), (255, 10), (128, 132)])
    def test_transparency_shows_white(self, file_format, alpha, expected):
        image = Image.new("RGBA", (20, 20), (10, 10, 10, alpha))
        assert np.abs(decode(encode(image, file_format)).astype(int) - expected).max() <= 1

    def test_grey_with_alpha_shows_white_too(self):
        assert decode(encode(Image.new("LA", (20, 20), (10, 0)), "PNG")).min() == 255

    def test_a_transparent_palette_entry_shows_white(self):
        image = Image.new("P", (20, 20), 0)
        image.putpalette([200, 0, 0])
        assert decode(encode(image, "PNG", transparency=0)).min() == 255

    @pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_every_orientation_is_turned_upright(self, orientation, file_format):
        # What has to be done to upright pixels so that this orientation's tag describes them.
        stored = {
            1: None,
            2: Image.Transpose.FLIP_LEFT_RIGHT,
            3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE,
            6: Image.Transpose.ROTATE_90,
            7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_270,
        }[orientation]
        upright = picture()
        exif = Image.Exif()
        exif[0x0112] = orientation
        turned = upright if stored is None else upright.transpose(stored)
        decoded = decode(encode(turned, file_format, exif=exif)).astype(int)
        assert decoded.shape == (32, 48, 3)
        assert np.abs(decoded - np.asarray(upright)).mean() < 4

    def test_a_phones_jpeg_with_a_preview_is_its_first_frame(self):
        data = encode(picture(), "MPO", save_all=True, append_images=[picture(seed=1)], quality=95)
        assert np.abs(decode(data).astype(int) - np.asarray(picture())).mean() < 3


class TestWhatIsRefused:
    def test_nothing(self):
        assert refusal(b"").reason == "IMAGE_EMPTY"

    @pytest.mark.parametrize(
        "data", [b"hello, I am a text file\n" * 50, b"\x00" * 4096, b"\x89PNG", b"\xff\xd8\xff"]
    )
    def test_no_image(self, data):
        assert refusal(data).reason in {"IMAGE_UNREADABLE", "IMAGE_DAMAGED"}

    @pytest.mark.parametrize("file_format", ["GIF", "PPM", "ICO", "PDF", "EPS"])
    def test_formats_that_smears_do_not_come_in(self, file_format):
        assert refusal(encode(picture(), file_format)).reason == "IMAGE_UNREADABLE"

    @pytest.mark.parametrize(
        ("file_format", "options"),
        [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("BMP", {}), ("TIFF", {}), ("WEBP", {})],
    )
    def test_a_file_cut_off_anywhere_is_refused_or_whole(self, file_format, options):
        data = encode(picture(24, 20), file_format, **options)
        whole = decode(data)
        refused = 0
        for length in range(len(data)):
            try:
                decoded = decode(data[:length])
            except InvalidArgument:
                refused += 1
            else:
                assert np.array_equal(decoded, whole), f"{length} of {len(data)} bytes gave other pixels"
        assert refused >= 0.9 * len(data)

    @given(data=st.data())
    @settings(max_examples=150, deadline=None)
    def test_a_damaged_file_gives_an_image_or_a_refusal_and_nothing_else(self, data):
        file_format = data.draw(st.sampled_from(["PNG", "JPEG", "BMP", "TIFF", "WEBP"]))
        file = bytearray(encode(picture(24, 20), file_format))
        for _ in range(data.draw(st.integers(1, 8))):
            file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
        try:
            image = decode(bytes(file), limits=ImageLimits(max_pixels=10**6))
        except InvalidArgument:
            return
        assert image.dtype == np.uint8
        assert image.ndim == 3

    def test_one_pixel(self):
        assert refusal(encode(Image.new("RGB", (1, 1)), "PNG")).reason == "IMAGE_TOO_SMALL"

    def test_more_bytes_than_allowed(self):
        data = encode(picture(), "PNG")
        assert refusal(data, limits=ImageLimits(max_bytes=len(data) - 1)).reason == "IMAGE_TOO_LARGE"
        assert decode(data, limits=ImageLimits(max_bytes=len(data))).shape == (32, 48, 3)

    @pytest.mark.parametrize("size", [(49, 32), (48, 33)])
    def test_a_side_or_an_area_beyond_the_limit(self, size):
        data = encode(picture(*size), "PNG")
        assert refusal(data, limits=ImageLimits(max_pixels=48 * 32)).reason == "IMAGE_TOO_LARGE"
        assert refusal(data, limits=ImageLimits(max_side_px=40)).reason == "IMAGE_TOO_LARGE"

    @pytest.mark.parametrize(
        "size", [(50_000, 50_000), (16_385, 16), (10_000, 10_000), (2**31 - 1, 2**31 - 1)]
    )
    def test_a_header_that_promises_too_much_costs_no_memory(self, size):
        before = peak_bytes()
        assert refusal(png(*size)).reason == "IMAGE_TOO_LARGE"
        assert peak_bytes() - before < 32 * 2**20

    @pytest.mark.parametrize("file_format", ["JPEG", "TIFF"])
    def test_cmyk(self, file_format):
        assert refusal(encode(picture().convert("CMYK"), file_format)).reason == "IMAGE_MODE_UNSUPPORTED"

    @pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
    def test_sixteen_bit_grey(self, file_format):
        image = Image.fromarray(np.full((20, 20), 40_000, np.uint16))
        assert refusal(encode(image, file_format)).reason == "IMAGE_MODE_UNSUPPORTED"

    @pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
    def test_sixteen_bit_colour(self, colour, channels):
        rows = (b"\0" + bytes(20 * channels * 2)) * 20
        assert refusal(png(20, 20, bits=16, colour=colour, pixels=rows)).reason == "IMAGE_MODE_UNSUPPORTED"

    def test_floating_point(self):
        image = Image.fromarray(np.zeros((20, 20), np.float32))
        assert refusal(encode(image, "TIFF")).reason == "IMAGE_MODE_UNSUPPORTED"

    @pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
    def test_several_frames(self, file_format):
        frames = [picture(seed=1), picture(seed=2)]
        data = encode(picture(), file_format, save_all=True, append_images=frames)
        assert refusal(data).reason == "IMAGE_ANIMATED"

    def test_the_field_at_fault_is_named_and_no_library_is(self):
        error = refusal(b"no image", field="cells[3].image")
        assert error.field == "cells[3].image"
        assert error.message.startswith("cells[3].image: ")
        assert "PIL" not in error.message
        assert "BytesIO" not in error.message


def peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class TestLetterbox:
    @given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([32, 96, 416]))
    @settings(max_examples=60, deadline=None)
    def test_corners_find_their_way_back(self, width, height, size):
        image = np.zeros((height, width, 3), np.uint8)
        square, way_back = letterbox(image, size)
        assert square.shape == (size, size, 3)
        inside = np.nonzero((square == 0).all(axis=2))
        content = np.array(
            [[inside[1].min(), inside[0].min(), inside[1].max() + 1, inside[0].max() + 1]], np.float32
        )
        assert way_back.to_source(content)[0] == pytest.approx([0, 0, width, height], abs=1e-3)

    def test_around_the_image_is_grey_and_evenly_so(self):
        square, way_back = letterbox(np.zeros((50, 100, 3), np.uint8), 64)
        assert (square[:16] == 114).all()
        assert (square[48:] == 114).all()
        assert not square[16:48].any()
        assert (way_back.offset_x, way_back.offset_y) == (0, 16)


def coordinates(width: int, height: int) -> np.ndarray:
    """An image that says where each of its pixels is: red the column, green the row."""
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([x, y, np.zeros_like(x)], axis=2).astype(np.uint8)


class TestCrops:
    def test_pixels_are_the_fields_own_when_nothing_is_scaled(self):
        field = coordinates(200, 150)
        crop = cut_crop(field, Box(50, 40, 90, 80), size=40, margin=0)
        assert np.array_equal(crop, field[40:80, 50:90])

    def test_the_margin_is_a_share_of_the_longer_side(self):
        field = coordinates(200, 150)
        crop = cut_crop(field, Box(50, 50, 90, 70), size=60, margin=0.25)
        assert np.array_equal(crop, field[30:90, 40:100])

    @given(
        x=st.floats(0, 199.9),
        y=st.floats(0, 149.9),
        side=st.floats(0.5, 500),
        size=st.sampled_from([8, 24, 96]),
    )
    @settings(max_examples=120, deadline=None)
    def test_any_cell_gives_a_square_with_its_centre_in_the_middle(self, x, y, side, size):
        crop = cut_crop(
            coordinates(200, 150),
            Box(x - side / 2, y - side / 2, x + side / 2, y + side / 2),
            size=size,
            margin=0.2,
        )
        assert crop.shape == (size, size, 3)
        assert crop.dtype == np.uint8
        middle = (
            crop[size // 2 - 1 : size // 2 + 1, size // 2 - 1 : size // 2 + 1].reshape(-1, 3).mean(axis=0)
        )
        # Far from the edge, where no pixel is repeated, the middle shows the centre (pixel n covers n to n + 1).
        half = min(side, 200) * 0.7
        if half < x < 200 - half and half < y < 150 - half:
            assert middle[:2] == pytest.approx([x - 0.5, y - 0.5], abs=1.5)

    @given(
        x=st.floats(0, 59.9),
        y=st.floats(0, 39.9),
        width=st.floats(1, 60),
        height=st.floats(1, 60),
        seed=st.integers(0, 99),
    )
    @settings(max_examples=100, deadline=None)
    def test_beyond_the_edge_it_is_the_crop_of_the_padded_field(self, x, y, width, height, seed):
        field = np.random.default_rng(seed).integers(0, 256, (40, 60, 3), np.uint8)
        box = Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        padding = 128
        padded = np.pad(field, ((padding, padding), (padding, padding), (0, 0)), mode="edge")
        moved = Box(box.x0 + padding, box.y0 + padding, box.x1 + padding, box.y1 + padding)
        got = cut_crop(field, box, size=24, margin=0.1).astype(int)
        expected = cut_crop(padded, moved, size=24, margin=0.1).astype(int)
        # Moving the box costs its last bits, so a grey level may round the other way.
        assert np.abs(got - expected).max() <= 1

    @pytest.mark.parametrize("box", [Box(-1e9, -1e9, 1e9 + 20, 1e9 + 20), Box(-500, 5, 560, 15)])
    def test_a_box_far_larger_than_the_field_costs_no_more_than_the_field(self, box):
        before = peak_bytes()
        crop = cut_crop(np.zeros((40, 60, 3), np.uint8), box, size=96, margin=0.5)
        assert crop.shape == (96, 96, 3)
        assert peak_bytes() - before < 32 * 2**20

    @pytest.mark.parametrize(
        "box",
        [
            Box(10, 10, 10, 20),
            Box(10, 20, 20, 10),
            Box(float("nan"), 0, 10, 10),
            Box(0, 0, float("inf"), 10),
            Box(-30, 0, 10, 10),
            Box(50, 0, 71, 10),
        ],
    )
    def test_a_box_that_is_none_or_not_in_the_field_is_refused(self, box):
        with pytest.raises(ValueError, match="box"):
            cut_crop(np.zeros((40, 60, 3), np.uint8), box, size=24, margin=0.1)
