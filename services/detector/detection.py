"""The whole way from an image file to detections and crops."""

import functools
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np

from hemaserve.cells import Kind
from hemaserve.geometry import Box, Tile
from services.detector.crops import CropOrder, make_crop
from services.detector.field_quality import field_quality
from services.detector.metrics import DetectorMetrics
from services.detector.models import DetectionModel, ModelCatalog
from services.detector.network import Network
from services.detector.predictions import Candidates
from services.detector.scale import CLOSE_ENOUGH, probes, side_from_all, side_from_red_cells
from services.detector.tiling import Piece, TilingPolicy, fits_one_piece, merge, plan
from services.runtime.fields import Field, FieldGate
from services.runtime.remote import Deadline
from services.runtime.span_signals import LOOK
from services.runtime.stages import stage
from services.runtime.tracing import Within
from services.runtime.workers import Workers

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
        metrics: where the figures of fields go.
    """

    def __init__(
        self,
        catalog: ModelCatalog,
        gate: FieldGate,
        network: Network,
        workers: Workers,
        tiling: TilingPolicy,
        metrics: DetectorMetrics | None = None,
    ) -> None:
        self._catalog = catalog
        self._gate = gate
        self._network = network
        self._workers = workers
        self._tiling = tiling
        self._metrics = metrics or DetectorMetrics()

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
            view = _View(field, model, self._network, thresholds, deadline)
            with Within(LOOK):
                side = await self._tile_side(view, order.um_per_px)
                pieces = plan(field.width, field.height, side, self._tiling)
                seen = await view.look([piece.tile for piece in pieces], thresholds)
            with stage("nms"):
                found = await self._merged(pieces, seen, field, nms_iou=model.nms_iou)
                detections = named(found, model.kinds)
            yield DetectedField(field, model, view.pieces, thresholds, detections)
            with stage("measure"):
                # Here and not in a thread: it looks at as many pixels of a large field as of a small one.
                self._metrics.field_done(
                    field_quality(field.image), Counter(detection.kind for detection in detections)
                )

    async def _merged(
        self, pieces: Sequence[Piece], seen: Sequence[Candidates], field: Field, *, nms_iou: float
    ) -> Candidates:
        of_field = functools.partial(merge, pieces, seen, field.width, field.height, nms_iou=nms_iou)
        # One piece has nothing to be merged with.
        return of_field() if len(pieces) == 1 else await self._workers.run(of_field)

    async def _tile_side(self, view: "_View", um_per_px: float | None) -> int:
        """Side of the smallest tiles for this field in pixels."""
        if um_per_px is not None:
            return self._tiling.side_at_scale(um_per_px)
        model, width, height = view.model, view.field.width, view.field.height
        side = self._tiling.side_px
        if Kind.RBC not in model.kinds:
            return side
        red_cells = {Kind.RBC: model.score_thresholds[Kind.RBC]}
        if fits_one_piece(width, height, side):
            whole = [Tile(0, 0, width, height)]
            asked = side_from_red_cells(whole, await view.look(whole, red_cells), width, height, self._tiling)
            if asked is not None and asked >= CLOSE_ENOUGH * max(width, height):
                return side
            (everything,) = await view.look(whole, model.score_thresholds)
            side = side_from_all(everything, self._tiling) or side
        pieces = probes(width, height, self._tiling)
        seen = await view.look(pieces, red_cells)
        return side_from_red_cells(pieces, seen, width, height, self._tiling) or side

    async def cut(
        self, found: DetectedField, order: CropOrder, *, chunk_bytes: int
    ) -> AsyncIterator[Sequence[Cut]]:
        """The detections with their crops, best score first, in chunks of about `chunk_bytes` at most.

        Each chunk is cut when it is asked for, so that a slow reader does not fill this service's memory.
        """
        for chunk in _chunks(found.detections, order, chunk_bytes):
            with stage("crops"):
                cut = await self._workers.run(_cut_all, found.field, chunk, order)
            yield cut


class _View:
    """What the network sees of one open field; no piece is shown to it twice.

    All kinds are looked for, whichever the caller wants, so that the scale that they tell does not depend on that.
    """

    def __init__(
        self,
        field: Field,
        model: DetectionModel,
        network: Network,
        thresholds: Mapping[Kind, float],
        deadline: Deadline,
    ) -> None:
        self.field = field
        self.model = model
        self._network = network
        self._least = {
            kind: min(score, thresholds.get(kind, score)) for kind, score in model.score_thresholds.items()
        }
        self._deadline = deadline
        self._seen: dict[Tile, Candidates] = {}

    @property
    def pieces(self) -> int:
        """In how many pieces the field was looked at."""
        return len(self._seen)

    async def look(self, pieces: Sequence[Tile], thresholds: Mapping[Kind, float]) -> list[Candidates]:
        """What is in each of `pieces`, in their order.

        Args:
            thresholds: the least score of each kind that is wanted; not below the caller's and the model's own.
        """
        new = [piece for piece in dict.fromkeys(pieces) if piece not in self._seen]
        seen = await self._network.look(self.field.image, new, self.model, self._least, self._deadline)
        self._seen.update(zip(new, seen, strict=True))
        least = np.array([thresholds.get(kind, np.inf) for kind in self.model.kinds], np.float32)
        return [
            found.take(found.scores >= least[found.kinds])
            for found in (self._seen[piece] for piece in pieces)
        ]


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
