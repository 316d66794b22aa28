"""What the networks are shown on the way of some fields through the services: the work that both sides of a ratio do.

The detector's own code runs here against the stack's Triton, and what it sends there is noted: squares in the batches
in which they were sent, with those that only tell a field's scale, and the crops of its white cells.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from hemaserve.cells import Kind
from hemaserve.crops import CropEncoding
from services.detector.crops import CropOrder
from services.detector.detection import DetectionOrder, Detector
from services.detector.models import INPUT, ModelCatalog
from services.detector.network import Network
from services.detector.settings import DetectorSettings
from services.runtime.admission import Admission, Capacity
from services.runtime.admission_metrics import AdmissionMetrics
from services.runtime.decoders import Decoders
from services.runtime.fields import FieldGate
from services.runtime.remote import Deadline
from services.runtime.workers import Workers
from services.triton.client import Array, TritonClient
from services.triton.pace import PaceLimits, TritonPace

CROP_PX: Final = 96
CROP_MARGIN: Final = 0.15
TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class FieldWork:
    """What the networks are shown of one field.

    Attributes:
        squares: the detector's batches, uint8 [K, side, side, 3] each, in their order.
        crops: uint8 [M, 96, 96, 3]; M may be 0.
    """

    squares: tuple[Array, ...]
    crops: Array


def work_of(images: Sequence[bytes], triton_address: str) -> list[FieldWork]:
    """The work of each field."""
    return asyncio.run(_work_of(images, triton_address))


class _Noting(TritonPace):
    """Asks Triton, and notes what it was asked."""

    def __init__(self, triton: TritonClient, limits: PaceLimits) -> None:
        super().__init__(triton, limits)
        self.shown: list[Array] = []

    async def infer(
        self, model: str, inputs: Mapping[str, Array], outputs: Sequence[str], *, timeout_s: float
    ) -> dict[str, Array]:
        self.shown.append(inputs[INPUT].copy())
        return await super().infer(model, inputs, outputs, timeout_s=timeout_s)


async def _work_of(images: Sequence[bytes], triton_address: str) -> list[FieldWork]:
    settings = DetectorSettings()
    order = DetectionOrder(
        model="",
        um_per_px=None,
        kinds=None,
        score_threshold=None,
        crops=CropOrder(frozenset({Kind.WBC}), CropEncoding.RAW_RGB8, CROP_PX, CROP_MARGIN),
    )
    workers, decoders = Workers(1), Decoders(1)
    found = []
    try:
        async with TritonClient(triton_address) as triton:
            noting = _Noting(triton, PaceLimits(settings.max_batch_ms, settings.batches_at_once))
            fields = Admission(Capacity("fields", 1, 1), AdmissionMetrics())
            detector = Detector(
                ModelCatalog(triton, default=settings.default_model, refresh_s=settings.models_refresh_s),
                FieldGate(decoders, workers, settings.image_limits, fields),
                Network(noting, workers, batches_in_flight=settings.batches_in_flight),
                workers,
                settings.tiling,
            )
            for image in images:
                noting.shown.clear()
                crops = []
                async with detector.detect(image, order, Deadline(TIMEOUT_S)) as seen:
                    async for cuts in detector.cut(seen, order.crops, chunk_bytes=settings.chunk_bytes):
                        crops += [np.frombuffer(cut.crop, np.uint8) for cut in cuts if cut.crop is not None]
                shape = (len(crops), CROP_PX, CROP_PX, 3)
                stacked = np.concatenate(crops) if crops else np.empty(0, np.uint8)
                found.append(FieldWork(tuple(noting.shown), stacked.reshape(shape)))
    finally:
        workers.close()
        await decoders.close()
    return found
