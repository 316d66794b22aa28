"""What kinds of files the detector takes, and what it says of those that it does not."""

import asyncio
import struct
import zlib

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from PIL import Image

from hemaserve.geometry import iou_matrix
from hemaserve.v1 import cells_pb2

ORIENTATION = 0x0112
WBC = cells_pb2.CELL_KIND_WBC


@pytest.fixture(scope="session")
async def plain(detect, field, encode):
    """What is found in the field as a PNG file."""
    answer = await detect(image=encode(field))
    assert len(answer.boxes(WBC)) > 0
    return answer


@pytest.mark.parametrize(
    ("file_format", "options"),
    [("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("BMP", {}), ("WEBP", {"lossless": True})],
)
async def test_lossless_formats_give_the_same_cells(detect, plain, field, encode, file_format, options):
    answer = await detect(image=encode(field, file_format, **options))
    assert answer.detections == plain.detections
    assert answer.crops == plain.crops


@pytest.mark.parametrize(
    ("file_format", "options"),
    [("JPEG", {"quality": 95, "subsampling": 0}), ("JPEG", {"quality": 85}), ("WEBP", {"quality": 90})],
)
async def test_lossy_formats_give_the_same_white_cells(detect, plain, field, encode, file_format, options):
    answer = await detect(image=encode(field, file_format, **options))
    overlaps = iou_matrix(answer.boxes(WBC), plain.boxes(WBC))
    assert overlaps.shape[0] == overlaps.shape[1]
    assert (overlaps.max(axis=0) > 0.8).all()


async def test_an_opaque_alpha_channel_changes_nothing(detect, plain, field, encode):
    alpha = np.full((*field.shape[:2], 1), 255, np.uint8)
    answer = await detect(image=encode(np.concatenate([field, alpha], axis=2)))
    assert answer.detections == plain.detections


async def test_grey_is_taken_as_equal_red_green_and_blue(detect, field, encode):
    grey = Image.fromarray(field).convert("L")
    as_grey = await detect(image=encode(grey), score_threshold=0.1)
    as_colour = await detect(image=encode(grey.convert("RGB")), score_threshold=0.1)
    assert as_grey.detections == as_colour.detections


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (3, Image.Transpose.ROTATE_180),
        (6, Image.Transpose.ROTATE_90),
        (8, Image.Transpose.ROTATE_270),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
    ],
)
@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
async def test_a_field_that_says_how_to_turn_it_is_seen_upright(
    detect, plain, field, encode, orientation, stored, file_format
):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    turned = Image.fromarray(field).transpose(stored)
    answer = await detect(image=encode(turned, file_format, exif=exif))
    assert (answer.field.width_px, answer.field.height_px) == (640, 480)
    assert answer.detections == plain.detections


def png_header(width, height):
    """A PNG file that claims a size and has no pixels."""
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


REFUSED = {
    "empty": "IMAGE_EMPTY",
    "text": "IMAGE_UNREADABLE",
    "corrupt": "IMAGE_DAMAGED",
    "truncated": "IMAGE_DAMAGED",
    "1x1": "IMAGE_TOO_SMALL",
    "50,000x50,000": "IMAGE_TOO_LARGE",
    "CMYK": "IMAGE_MODE_UNSUPPORTED",
    "16 bits": "IMAGE_MODE_UNSUPPORTED",
    "GIF": "IMAGE_UNREADABLE",
}


@pytest.fixture(scope="session")
def bad_files(field, encode):
    png, jpeg = encode(field), encode(field, "JPEG")
    return {
        "empty": b"",
        "text": b"This is no image.\n" * 50,
        "corrupt": png[:2000] + bytes(2000) + png[4000:],
        "truncated": jpeg[: len(jpeg) // 2],
        "1x1": encode(field[:1, :1]),
        "50,000x50,000": png_header(50_000, 50_000),
        "CMYK": encode(Image.fromarray(field).convert("CMYK"), "JPEG"),
        "16 bits": encode(Image.fromarray(field[..., 0].astype(np.uint16) * 256)),
        "GIF": encode(Image.fromarray(field).convert("P"), "GIF"),
    }


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
async def test_a_file_that_is_no_field_is_refused_clearly_and_costs_its_neighbour_nothing(
    detect, plain, field, encode, bad_files, name, reason
):
    bad, good = await asyncio.gather(
        detect(image=bad_files[name]), detect(image=encode(field)), return_exceptions=True
    )
    assert isinstance(bad, grpc.aio.AioRpcError)
    assert bad.code() is grpc.StatusCode.INVALID_ARGUMENT
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in rpc_status.from_call(bad).details:
        detail.Unpack(info)
        detail.Unpack(bad_request)
    assert (info.reason, info.domain) == (reason, "hemaserve")
    assert [violation.field for violation in bad_request.field_violations] == ["image"]
    assert good.detections == plain.detections
