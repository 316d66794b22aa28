"""Cells only: what the detector finds in one field, unnamed."""

from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from hemaserve.cells import Kind
from hemaserve.crops import CropEncoding
from hemaserve.errors import Internal
from hemaserve.v1 import cells_pb2, detector_pb2
from services.gateway.detector import DetectorClient
from services.gateway.orders import FieldOrder
from services.gateway.provenance import merge_provenances
from services.runtime.remote import Deadline
from services.runtime.repeating import repeated
from services.runtime.stages import stage
from services.runtime.translate import kind_to_proto

_REQUEST_PATHS: Final = {
    "image": "field.image",
    "um_per_px": "field.acquisition.um_per_px",
    "model": "detector_model",
}


@dataclass(frozen=True, slots=True)
class DetectionOptions:
    """What to report of a field.

    Attributes:
        detector_model: detection model; empty for the service's default.
        kinds: kinds to report.
        crop_encoding: whether each detection comes with its crop, and how.
        score_threshold: least score to report; None for the model's own thresholds.
    """

    detector_model: str
    kinds: frozenset[Kind]
    crop_encoding: CropEncoding
    score_threshold: float | None


@dataclass(frozen=True, slots=True)
class FoundCells:
    """What the detector found, as it said it.

    Attributes:
        info: what it learned of the field as a whole.
        detections: best score first.
        crops: in the order of the detections; empty unless asked for.
        provenance: where this came from.
    """

    info: detector_pb2.FieldInfo
    detections: tuple[cells_pb2.Detection, ...]
    crops: tuple[cells_pb2.Crop, ...]
    provenance: cells_pb2.Provenance


async def detect_cells(
    field: FieldOrder,
    options: DetectionOptions,
    detector: DetectorClient,
    *,
    deadline: Deadline,
) -> FoundCells:
    """Find the cells of one field.

    Raises:
        DomainError: it could not be done.
    """
    kinds = [kind_to_proto(kind) for kind in Kind if kind in options.kinds]
    request = detector_pb2.DetectRequest(
        image=field.image,
        model=options.detector_model,
        um_per_px=field.um_per_px or 0.0,
        kinds=kinds,
        crop_kinds=kinds,
        crop_encoding=cells_pb2.CropEncoding.Value(f"CROP_ENCODING_{options.crop_encoding.name}"),
        score_threshold=options.score_threshold,
    )

    async def attempt() -> FoundCells:
        return await _found(request, detector, deadline=deadline)

    with stage("detect"):
        return await repeated(attempt, budgets=[detector.budget], deadline=deadline)


async def _found(
    request: detector_pb2.DetectRequest, detector: DetectorClient, *, deadline: Deadline
) -> FoundCells:
    info: detector_pb2.FieldInfo | None = None
    detections: list[cells_pb2.Detection] = []
    crops: list[cells_pb2.Crop] = []
    async with aclosing(detector.detect(request, deadline=deadline, paths=_REQUEST_PATHS)) as responses:
        async for response in responses:
            info = response.field if response.HasField("field") else info
            detections += response.detections
            crops += response.crops
    if info is None:
        raise Internal("the detector said nothing of the field")
    return FoundCells(info, tuple(detections), tuple(crops), merge_provenances([info.provenance]))
