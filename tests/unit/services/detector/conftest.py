"""A Triton that exists in memory only, whose detection network sees cells of pure colour on white."""

import asyncio

import numpy as np
import pytest
from scipy import ndimage

from hemaserve.cells import Kind
from hemaserve.errors import NotFound
from hemaserve.image_files.facts import ImageLimits
from hemaserve.imaging import PREPROCESSING_VERSION
from services.detector.detection import Detector
from services.detector.models import ModelCatalog
from services.detector.network import Network
from services.detector.tiling import TilingPolicy
from services.runtime.admission import Admission, Capacity
from services.runtime.decoders import Decoders
from services.runtime.fields import FieldGate
from services.runtime.workers import Workers
from services.triton.descriptions import ModelDescription, TensorDescription
from services.triton.pace import PaceLimits, TritonPace

COLOURS = {Kind.WBC: (120, 0, 160), Kind.RBC: (230, 60, 60), Kind.PLATELET: (0, 90, 200)}
INPUT_PX = 416
MOST_CELLS = 400

PARAMETERS = {
    "task": "detection",
    "title": "A network",
    "licence": "AGPL-3.0-only",
    "sha256": "ab" * 32,
    "preprocessing_version": PREPROCESSING_VERSION,
    "kinds": "wbc,rbc,platelet",
    "score_threshold.wbc": "0.3",
    "score_threshold.rbc": "0.4",
    "score_threshold.platelet": "0.5",
    "nms_iou": "0.6",
}


def description(name="yolov8n", dims=(INPUT_PX, INPUT_PX, 3), max_batch_size=4, **changes):
    """A model as Triton describes it; a parameter given as None is left out."""
    parameters = {**PARAMETERS, **{key.replace("__", "."): value for key, value in changes.items()}}
    return ModelDescription(
        name=name,
        version="1",
        versions=("1",),
        platform="",
        backend="onnxruntime",
        max_batch_size=max_batch_size,
        inputs=(TensorDescription("images", "UINT8", tuple(dims)),),
        outputs=(TensorDescription("predictions", "FP32", (7, -1)),),
        parameters={key: value for key, value in parameters.items() if value is not None},
    )


def see(square):
    """A box around each patch that is not white, its kind by its colour, as raw predictions [7, MOST_CELLS]."""
    raw = np.zeros((7, MOST_CELLS), np.float32)
    # Scaling blurs edges: the cell begins half way from white. The letterbox's border is no cell.
    cells = (square.min(axis=-1) < 140) & ~(square == 114).all(axis=-1)
    patches, _ = ndimage.label(cells)
    for i, (rows, columns) in enumerate(ndimage.find_objects(patches)):
        cell = patches[rows, columns] == i + 1
        if cell.sum() > 8:
            colour = np.median(square[rows, columns][cell], axis=0)
            kind = min(range(len(COLOURS)), key=lambda k: np.abs(colour - list(COLOURS.values())[k]).sum())
            height, width = cell.shape
            raw[:4, i] = columns.start + width / 2, rows.start + height / 2, width, height
            raw[4 + kind, i] = 0.9
    return raw


class FakeTriton:
    """Answers like `TritonClient`, and keeps account."""

    def __init__(self, *models):
        self.described = {model.name: model for model in models or (description(),)}
        self.batches = []
        self.timeouts = []
        self.config_calls = 0
        self.in_flight = self.most_in_flight = self.cancelled = 0
        self.error = None
        self.hold = None
        self.asleep = {}
        self.loads = []
        self.three_in_flight = asyncio.Event()

    async def model_config(self, name):
        self.config_calls += 1
        if name not in self.described:
            raise NotFound("no such network is loaded")
        return self.described[name]

    async def load(self, name):
        self.loads.append(name)
        if name in self.asleep:
            self.described[name] = self.asleep.pop(name)
        return name in self.described

    async def loadable(self):
        return sorted(self.asleep)

    async def models(self):
        return list(self.described)

    async def ready(self, name):
        return name in self.described

    async def infer(self, model, inputs, outputs, *, timeout_s, priority, headers):
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        if self.in_flight == 3:
            self.three_in_flight.set()
        self.batches.append(len(inputs["images"]))
        self.timeouts.append(timeout_s)
        try:
            if self.error is not None:
                raise self.error
            if self.hold is not None:
                await self.hold.wait()
            await asyncio.sleep(0)
            return {"predictions": np.stack([see(square) for square in inputs["images"]])}
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.in_flight -= 1


@pytest.fixture
def describe():
    """Makes model descriptions: `describe(name, dims, max_batch_size, **parameters)`."""
    return description


@pytest.fixture
def make_triton():
    """Makes Tritons with the models given."""
    return FakeTriton


@pytest.fixture
def draw():
    """Draws a white field with cells: `draw(width, height, (kind, box), ...)`."""

    def draw(width, height, *cells):
        image = np.full((height, width, 3), 255, np.uint8)
        for kind, box in cells:
            image[round(box.y0) : round(box.y1), round(box.x0) : round(box.x1)] = COLOURS[kind]
        return image

    return draw


@pytest.fixture
def fake_triton():
    return FakeTriton()


@pytest.fixture
def workers():
    workers = Workers(2)
    yield workers
    workers.close()


@pytest.fixture
def catalog(fake_triton):
    return ModelCatalog(fake_triton, default="yolov8n", refresh_s=60)


@pytest.fixture(scope="session")
async def decoders():
    decoders = Decoders(1)
    yield decoders
    await decoders.close()


@pytest.fixture
def gate(decoders, workers):
    return FieldGate(decoders, workers, ImageLimits(), Admission(Capacity("fields", 2, 1)))


@pytest.fixture
def detector(fake_triton, catalog, gate, workers):
    network = Network(TritonPace(fake_triton, PaceLimits(1000, 8)), workers, batches_in_flight=3)
    return Detector(catalog, gate, network, workers, TilingPolicy(640, 0.35, 0.215, 1000))
