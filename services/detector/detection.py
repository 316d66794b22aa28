"""The whole way from an image file to detections and crops."""

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hemaserve.cells import Kind
from hemaserve.geometry import Box
from services.detector.crops import CropOrder, make_crop
from services.detector.fields import Field, FieldGate
from services.detector.models import DetectionModel, ModelCatalog
from services.detector.network import Network
from services.detector.predictions import Candidates
from services.detector.scale import probes, side_from_red_cells
from services.detector.tiling import TilingPolicy, merge, plan
from services.detector.workers import Workers
from services.runtime.remote import Deadline

DETECTION_BYTES = 96
"""More than one detection takes in a message: an id of some 20 characters, four edges, kind and score."""


@dataclass(frozen=True, slots=True)
class DetectionOrder:
    """What a caller wants to know of a field.

    Attributes:
        model: name of the model; empty for the default one.
        um_per_px: scale of the field, None when unknown.
        kinds: what to report; None for all that the model knows.
        score_threshold: the least score of every kind; None for the model's own thresholds.
        crops: which cells to cut out.
    """

    model: str
    um_per_px: float | None
    kinds: frozenset[Kind] | None
    score_threshold: float | None
    crops: CropOrder


@dataclass(frozen=True, slots=True)
class Detection:
    """One object that the network found, in the field's pixels."""

    cell_id: str
    box: Box
    kind: Kind
    score: float


@dataclass(frozen=True, slots=True)
class Cut:
    """A detection and, when its kind was asked for, its crop's bytes."""

    detection: Detection
    crop: bytes | None


@dataclass(frozen=True, slots=True)
class DetectedField:
    """What was found in a field; valid while the field is open.

    Attributes:
        field: the field itself.
        model: what found it.
        pieces: in how many pieces the network looked at the field, counting those that told its scale.
        thresholds: the least score of each kind that was looked for.
        detections: best score first.
    """

    field: Field
    model: DetectionModel
    pieces: int
    thresholds: Mapping[Kind, float]
    detections: Sequence[Detection]


class Detector:
    """Finds cells.

    Args:
        catalog: the models to choose from.
        gate: lets fields in.
        network: shows them to a model.
        workers: threads that cut crops.
        tiling: how large fields are divided.
    """

    def __init__(
        self, catalog: ModelCatalog, gate: FieldGate, network: Network, workers: Workers, tiling: TilingPolicy
    ) -> None:
        self._catalog = catalog
        self._gate = gate
        self._network = network
        self._workers = workers
        self._tiling = tiling

    @asynccontextmanager
    async def detect(
        self, data: bytes, order: DetectionOrder, deadline: Deadline
    ) -> AsyncIterator[DetectedField]:
        """What a model finds in the image file `data`; the field stays in memory inside the block.

        Raises:
            InvalidArgument: `data` is no image that is accepted.
            NotFound: there is no such model.
            ResourceExhausted, Unavailable, DeadlineExceeded: as they say.
        """
        model = await self._catalog.get(order.model)
        thresholds = _thresholds(model, order)
        async with self._gate.opened(data, deadline) as field:
            side, tried = await self._tile_side(field, order.um_per_px, model, deadline)
            pieces = plan(field.width, field.height, side, self._tiling)
            where = [piece.tile for piece in pieces]
            seen = await self._network.look(field.image, where, model, thresholds, deadline)
            found = await self._workers.run(
                merge, pieces, seen, field.width, field.height, nms_iou=model.nms_iou
            )
            detections = named(found, model.kinds)
            yield DetectedField(field, model, tried + len(pieces), thresholds, detections)

    async def _tile_side(
        self, field: Field, um_per_px: float | None, model: DetectionModel, deadline: Deadline
    ) -> tuple[int, int]:
        """Side of the smallest tiles for this field in pixels, and how many pieces were looked at to find it out."""
        if um_per_px is not None:
            return self._tiling.side_at_scale(um_per_px), 0
        pieces = probes(field.width, field.height, self._tiling)
        if not pieces or Kind.RBC not in model.kinds:
            return self._tiling.side_px, 0
        red_cells = {Kind.RBC: model.score_thresholds[Kind.RBC]}
        seen = await self._network.look(field.image, pieces, model, red_cells, deadline)
        side = side_from_red_cells(pieces, seen, field.width, field.height, self._tiling)
        return side or self._tiling.side_px, len(pieces)

    async def cut(
        self, found: DetectedField, order: CropOrder, *, chunk_bytes: int
    ) -> AsyncIterator[Sequence[Cut]]:
        """The detections with their crops, best score first, in chunks of about `chunk_bytes` at most.

        Each chunk is cut when it is asked for, so that a slow reader does not fill this service's memory.
        """
        for chunk in _chunks(found.detections, order, chunk_bytes):
            yield await self._workers.run(_cut_all, found.field, chunk, order)


def _thresholds(model: DetectionModel, order: DetectionOrder) -> dict[Kind, float]:
    return {
        kind: model.score_thresholds[kind] if order.score_threshold is None else order.score_threshold
        for kind in model.kinds
        if order.kinds is None or kind in order.kinds
    }


def named(found: Candidates, kinds: Sequence[Kind]) -> list[Detection]:
    """Detections with ids.

    An id is the kind and the box's centre in whole pixels, e.g. `wbc-312-45`: the same whenever the same network
    looks at the same image, whatever kinds and thresholds were asked for. Should two cells share a centre, the lesser
    one has `-2` behind its id, and so on.
    """
    times: Counter[str] = Counter()
    detections = []
    for edges, score, position in zip(
        found.boxes.tolist(), found.scores.tolist(), found.kinds.tolist(), strict=True
    ):
        box, kind = Box(*edges), kinds[position]
        center_x, center_y = box.center
        cell_id = f"{kind.value}-{int(center_x)}-{int(center_y)}"
        times[cell_id] += 1
        if times[cell_id] > 1:
            cell_id = f"{cell_id}-{times[cell_id]}"
        detections.append(Detection(cell_id, box, kind, score))
    return detections


def _chunks(
    detections: Sequence[Detection], order: CropOrder, chunk_bytes: int
) -> Iterator[Sequence[Detection]]:
    chunk: list[Detection] = []
    room = chunk_bytes
    for detection in detections:
        size = DETECTION_BYTES + (order.most_bytes if detection.kind in order.kinds else 0)
        if chunk and size > room:
            yield chunk
            chunk, room = [], chunk_bytes
        chunk.append(detection)
        room -= size
    if chunk:
        yield chunk


def _cut_all(field: Field, detections: Sequence[Detection], order: CropOrder) -> list[Cut]:
    return [
        Cut(
            detection,
            make_crop(field.image, detection.box, order) if detection.kind in order.kinds else None,
        )
        for detection in detections
    ]
