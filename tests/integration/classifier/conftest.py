"""Single cells to name, and the classifier on the real Triton."""

from contextlib import asynccontextmanager

import numpy as np
import pytest
from PIL import Image

from hemaserve import synthetic
from hemaserve.cells import Kind
from hemaserve.imaging import cut_crop, resize
from hemaserve.v1 import cells_pb2, classifier_pb2, classifier_pb2_grpc
from services.classifier.application import open_application
from services.classifier.settings import ClassifierSettings
from services.runtime.remote import open_channel
from services.runtime.server import running

SIZE = 96
CELLS = 64


@pytest.fixture(scope="session")
def cell_crops(data_folder):
    """Crops of one cell each, of all types: uint8 [64, 96, 96, 3], real where there are any, else generated."""
    if data_folder is not None:
        paths = sorted((data_folder / "pbc" / "val").glob("*/*.webp"))
        chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, CELLS).astype(int)]
        return np.stack(
            [resize(np.asarray(Image.open(path).convert("RGB")), (SIZE, SIZE)) for path in chosen]
        )
    crops = []
    for seed in range(CELLS):
        field = synthetic.generate_field(seed, white_cells=3)
        whites = [cell.box for cell in field.cells if cell.kind is Kind.WBC]
        crops += [cut_crop(field.image, box, size=SIZE, margin=0.15) for box in whites]
    return np.stack(crops[:CELLS])


class Caller:
    """A client of the classifier that speaks in arrays."""

    def __init__(self, channel, metrics_address):
        self.stub = classifier_pb2_grpc.ClassifierServiceStub(channel)
        self.metrics_address = metrics_address

    @staticmethod
    def request(crops, *, first_id=0, model=""):
        return classifier_pb2.ClassifyRequest(
            model=model,
            cells=[
                classifier_pb2.CellToClassify(
                    field_id="field",
                    crop=cells_pb2.Crop(
                        cell_id=str(first_id + index), size_px=len(crop), data=crop.tobytes()
                    ),
                )
                for index, crop in enumerate(crops)
            ],
        )

    async def ask(self, *requests):
        return [response async for response in self.stub.Classify(iter(requests), timeout=120)]

    async def opinions(self, crops, **options):
        """Probabilities of the ensemble and its members side by side, one row for each crop."""
        responses = await self.ask(
            *(self.request(crops[i : i + 32], **options) for i in range(0, len(crops), 32))
        )
        return np.stack([row(cell) for response in responses for cell in response.cells])


def row(cell):
    """All probabilities that came with a cell, in one row."""
    classification = cell.classification
    parts = [
        classification.leaf_probabilities,
        *(member.leaf_probabilities for member in classification.members),
    ]
    return np.array([each.probability for part in parts for each in part])


@pytest.fixture(scope="session")
def row_of():
    return row


@pytest.fixture(scope="session")
def classifier_on():
    """`async with classifier_on(triton_address) as caller`: the service on that Triton, and a client of it."""

    @asynccontextmanager
    async def start(triton_address, **settings):
        chosen = ClassifierSettings(
            listen="127.0.0.1:0", metrics_listen="127.0.0.1:0", triton_address=triton_address, **settings
        )
        application = await open_application(chosen)
        async with (
            running(application, chosen, name="classifier") as server,
            open_channel(server.address) as channel,
        ):
            yield Caller(channel, server.metrics_address)

    return start
