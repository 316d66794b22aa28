"""The detector service over the real Triton, and fields to show it."""

import io
import os
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import numpy as np
import pytest
from PIL import Image

from hemaserve.imaging import decode
from hemaserve.synthetic import generate_field
from hemaserve.v1 import detector_pb2, detector_pb2_grpc
from services.detector.application import open_application
from services.detector.settings import DetectorSettings
from services.runtime.server import running

DATA = Path(os.environ.get("HEMASERVE_DATA", Path(__file__).parents[4] / "shared" / "data"))


@dataclass
class Answer:
    """All messages of one `Detect`."""

    messages: list

    @property
    def field(self):
        return self.messages[0].field

    @property
    def detections(self):
        return [detection for message in self.messages for detection in message.detections]

    @property
    def crops(self):
        return [crop for message in self.messages for crop in message.crops]

    def boxes(self, kind=None):
        """Boxes of a kind float32 [N, 4], best score first."""
        edges = [
            (d.box.x0_px, d.box.y0_px, d.box.x1_px, d.box.y1_px)
            for d in self.detections
            if kind in (None, d.kind)
        ]
        return np.array(edges, np.float32).reshape(-1, 4)


@pytest.fixture(scope="session")
async def server(triton):
    """The running service."""
    settings = DetectorSettings(triton_address=triton, listen="127.0.0.1:0", metrics_listen="127.0.0.1:0")
    async with running(await open_application(settings), settings, name="detector") as server:
        yield server


@pytest.fixture(scope="session")
async def channel(server):
    """A channel with gRPC's default limits for what it receives: 4 MiB a message."""
    options = [("grpc.max_send_message_length", 72 * 2**20)]
    async with grpc.aio.insecure_channel(server.address, options=options) as channel:
        yield channel


@pytest.fixture(scope="session")
def stub(channel):
    return detector_pb2_grpc.DetectorServiceStub(channel)


@pytest.fixture(scope="session")
def detect(stub):
    """`await detect(image=..., **request fields)`: an `Answer`, or an AioRpcError."""

    async def detect(*, timeout_s=280, **fields):
        call = stub.Detect(detector_pb2.DetectRequest(**fields), timeout=timeout_s)
        return Answer([message async for message in call])

    return detect


@pytest.fixture(scope="session")
def field():
    """A field with white cells, uint8 [height, width, 3]: a real one where there are any."""
    folder = DATA / "smear_fields"
    for labels in sorted((folder / "labels" / "val").glob("*.txt")):
        has_white_cell = any(line.startswith("0 ") for line in labels.read_text().splitlines())
        image = decode(next((folder / "images" / "val").glob(f"{labels.stem}.*")).read_bytes())
        if has_white_cell and image.shape == (480, 640, 3):
            return image
    return generate_field(7, width=640, height=480).image


@pytest.fixture(scope="session")
def encode():
    """`encode(image, format, **options)`: the bytes of an image file."""

    def encode(image, file_format="PNG", **options):
        file = io.BytesIO()
        picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
        picture.save(file, file_format, **options)
        return file.getvalue()

    return encode
