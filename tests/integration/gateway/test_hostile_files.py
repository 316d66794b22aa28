"""Files that no microscope made: each is refused clearly, and costs the request beside it nothing."""

import asyncio
import io
import struct
import zlib

import grpc
import numpy as np
import pytest
from PIL import Image

from hemaserve.v1 import gateway_pb2

TIMEOUT_S = 240


def jpeg(mode: str, size: tuple[int, int]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(5).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)).convert(
        mode
    ).save(file, "JPEG")
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has next to no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


HOSTILE = {
    "corrupt": (jpeg("RGB", (200, 150))[:2000], "IMAGE_DAMAGED"),
    "empty": (b"", "IMAGE_EMPTY"),
    "one pixel": (jpeg("RGB", (1, 1)), "IMAGE_TOO_SMALL"),
    "huge header": (png_header(50_000, 50_000), "IMAGE_TOO_LARGE"),
    "text": (b"Leukocytes 7.2\n" * 20, "IMAGE_UNREADABLE"),
    "cmyk": (jpeg("CMYK", (200, 150)), "IMAGE_MODE_UNSUPPORTED"),
}


def ask(stub, image: bytes):
    return stub.AnalyzeField(
        gateway_pb2.AnalyzeFieldRequest(field=gateway_pb2.Field(image=image)), timeout=TIMEOUT_S
    )


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_file_is_refused_by_field_and_reason(stub, name):
    image, reason = HOSTILE[name]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ask(stub, image)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details().startswith("field.image: ")
    assert "; allowed: " in caught.value.details()
    details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
    assert reason.encode() in details


async def test_hostile_files_cost_the_good_request_beside_them_nothing(stub, images):
    alone = await ask(stub, images[0])
    hostile = [ask(stub, image) for _ in range(5) for image, _ in HOSTILE.values()]
    beside = await ask(stub, images[0])
    refusals = await asyncio.gather(*(_code(call) for call in hostile))
    assert set(refusals) == {grpc.StatusCode.INVALID_ARGUMENT}
    assert beside.result.result_id == alone.result.result_id
    assert [cell.detection for cell in beside.result.cells] == [cell.detection for cell in alone.result.cells]
    assert beside.differential == alone.differential


async def test_hostile_files_within_a_smear_fail_alone(stub, images):
    files = [images[0], *(image for image, _ in HOSTILE.values()), images[1]]
    messages = [gateway_pb2.AnalyzeSmearRequest(open=gateway_pb2.OpenSmear(smear_id="smear"))]
    messages += [
        gateway_pb2.AnalyzeSmearRequest(
            field=gateway_pb2.Field(field_id=f"f{number}", sequence=number, image=image)
        )
        for number, image in enumerate(files)
    ]
    responses = [response async for response in stub.AnalyzeSmear(iter(messages), timeout=TIMEOUT_S)]
    result = responses[-1].smear_result
    assert list(result.failed_field_ids) == [f"f{number}" for number in range(1, 7)]
    assert result.fields_counted == 2
    assert gateway_pb2.REVIEW_REASON_FAILED_FIELDS in result.differential.review_reasons


async def _code(call) -> grpc.StatusCode:
    return await call.code()
