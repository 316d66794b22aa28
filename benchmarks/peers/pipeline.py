"""The whole pipeline in one process, for peers: image files in, cells and counts out, as many fields together as come.

Scaling, tiling, NMS, crops, the vote and what is said about a cell are the very functions of our services. What peers
do not do is what makes ours a service: nothing here is bounded, and images are decoded where they may do harm.
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from benchmarks.peers.answers import CellAnswer, FieldAnswer
from benchmarks.peers.description import Description, DetectorDescription, EnsembleDescription
from hemaserve.cells import Kind
from hemaserve.geometry import Box, FloatArray, Tile
from hemaserve.imaging import RgbImage, cut_crop, decode, letterbox
from hemaserve.voting import disagreement, vote
from services.classifier.decision import (
    Decision,
    checked_probabilities,
    checked_scores,
    decide,
    primary_tree,
)
from services.detector.predictions import Candidates, read_predictions
from services.detector.scale import CLOSE_ENOUGH, probes, side_from_all, side_from_red_cells
from services.detector.tiling import fits_one_piece, merge, plan


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one member of the ensemble says: probabilities float32 [N, leaves], scores float32 [N, 1]."""

    probabilities: FloatArray
    ood_score: FloatArray


class Networks(Protocol):
    """The networks, whatever they run on."""

    def detect(self, squares: RgbImage) -> FloatArray:
        """uint8 [N, side, side, 3] gives float32 [N, 4 + kinds, anchors]."""

    def classify(self, crops: RgbImage) -> list[Opinion]:
        """uint8 [N, side, side, 3] gives each member's opinion, in the ensemble's order."""


_Result = TypeVar("_Result")

Looking = Generator[Sequence[Tile], list[Candidates], _Result]
"""Asks for pieces of a field to be looked at, is sent what is in them, and returns what that tells."""

Look = Callable[[Sequence[Tile]], Looking[list[Candidates]]]
"""Has pieces looked at."""


class Pipeline:
    """Analyses fields."""

    def __init__(self, description: Description, networks: Networks) -> None:
        self._detector = description.detector
        self._ensemble = description.ensemble
        self._networks = networks

    def analyze(self, files: Sequence[bytes]) -> list[FieldAnswer]:
        """What is in each of some image files. They share the networks' batches.

        Raises:
            InvalidArgument: one of them is no image that is accepted.
        """
        images = [decode(file) for file in files]
        found = self._detect(images)
        kinds = self._detector.kinds
        white = [each.take(each.kinds == kinds.index(Kind.WBC)) for each in found]
        boxes = [[Box(*edges) for edges in each.boxes.tolist()] for each in white]
        decisions = iter(self._classify(self._crops(images, boxes)))
        return [
            FieldAnswer(
                tuple(
                    _cell(box, score, next(decisions))
                    for box, score in zip(of_field, its_white.scores.tolist(), strict=True)
                ),
                _counts(everything, kinds),
            )
            for everything, its_white, of_field in zip(found, white, boxes, strict=True)
        ]

    def _detect(self, images: Sequence[RgbImage]) -> list[Candidates]:
        """What is in each image: all of them are looked at together, as often as one of them needs."""
        lookings = [look_through(image.shape[1], image.shape[0], self._detector) for image in images]
        wanted = {index: list(next(looking)) for index, looking in enumerate(lookings)}
        found: dict[int, Candidates] = {}
        while wanted:
            pieces = [(index, tile) for index, tiles in wanted.items() for tile in tiles]
            seen = iter(self._look([(images[index], tile) for index, tile in pieces]))
            asked, wanted = wanted, {}
            for index, tiles in asked.items():
                try:
                    wanted[index] = list(lookings[index].send([next(seen) for _ in tiles]))
                except StopIteration as done:
                    found[index] = done.value
        return [found[index] for index in range(len(images))]

    def _look(self, pieces: Sequence[tuple[RgbImage, Tile]]) -> Iterable[Candidates]:
        """What the network sees in each piece, in its field's pixels."""
        detector = self._detector
        size = detector.max_batch_size
        for batch in (pieces[start : start + size] for start in range(0, len(pieces), size)):
            scaled = [
                letterbox(
                    image[tile.y0 : tile.y0 + tile.height, tile.x0 : tile.x0 + tile.width], detector.input_px
                )
                for image, tile in batch
            ]
            answer = self._networks.detect(np.stack([square for square, _ in scaled]))
            for raw, (_, way_back), (_, tile) in zip(answer, scaled, batch, strict=True):
                seen = read_predictions(
                    raw, detector.kinds, detector.score_thresholds, nms_iou=detector.nms_iou
                )
                origin = np.array([tile.x0, tile.y0] * 2, np.float32)
                yield seen.moved_to(way_back.to_source(seen.boxes) + origin)

    def _crops(self, images: Sequence[RgbImage], boxes: Sequence[Sequence[Box]]) -> RgbImage:
        size, margin = self._ensemble.crop_size_px, self._ensemble.crop_margin
        crops = [
            cut_crop(image, box, size=size, margin=margin)
            for image, of_field in zip(images, boxes, strict=True)
            for box in of_field
        ]
        return np.stack(crops) if crops else np.empty((0, size, size, 3), np.uint8)

    def _classify(self, crops: RgbImage) -> list[Decision]:
        size = self._ensemble.max_batch_size
        batches = (crops[start : start + size] for start in range(0, len(crops), size))
        return [
            decision
            for batch in batches
            for decision in decided(self._networks.classify(batch), len(batch), self._ensemble)
        ]


def look_through(width: int, height: int, detector: DetectorDescription) -> Looking[Candidates]:
    """How a field of `width` x `height` px whose scale nobody gave is looked at; as `services.detector.Detector` does.

    No piece is asked for twice.
    """
    seen: dict[Tile, Candidates] = {}

    def look(pieces: Sequence[Tile]) -> Looking[list[Candidates]]:
        new = [piece for piece in dict.fromkeys(pieces) if piece not in seen]
        if new:
            seen.update(zip(new, (yield new), strict=True))
        return [seen[piece] for piece in pieces]

    side = yield from _tile_side(width, height, detector, look)
    pieces = plan(width, height, side, detector.tiling)
    found = yield from look([piece.tile for piece in pieces])
    return merge(pieces, found, width, height, nms_iou=detector.nms_iou)


def _tile_side(width: int, height: int, detector: DetectorDescription, look: Look) -> Looking[int]:
    policy = detector.tiling
    side = policy.side_px
    if Kind.RBC not in detector.kinds:
        return side
    red_cell = detector.kinds.index(Kind.RBC)

    def red_cells(found: Sequence[Candidates]) -> list[Candidates]:
        return [each.take(each.kinds == red_cell) for each in found]

    if fits_one_piece(width, height, side):
        whole = [Tile(0, 0, width, height)]
        found = yield from look(whole)
        asked = side_from_red_cells(whole, red_cells(found), width, height, policy)
        if asked is not None and asked >= CLOSE_ENOUGH * max(width, height):
            return side
        side = side_from_all(found[0], policy) or side
    pieces = probes(width, height, policy)
    found = yield from look(pieces)
    return side_from_red_cells(pieces, red_cells(found), width, height, policy) or side


def decided(opinions: Sequence[Opinion], rows: int, ensemble: EnsembleDescription) -> list[Decision]:
    """What is said of each crop, from what each member says of it; as `services.classifier.Classifier` does."""
    leaves = len(ensemble.leaf_types)
    probabilities = [
        checked_probabilities(opinion.probabilities, rows=rows, leaves=leaves, source=name)
        for name, opinion in zip(ensemble.members, opinions, strict=True)
    ]
    scores = [
        checked_scores(opinion.ood_score, rows=rows, source=name)
        for name, opinion in zip(ensemble.members, opinions, strict=True)
    ]
    return decide(
        vote(probabilities, ensemble.vote_temperature).astype(np.float32),
        ensemble.leaf_types,
        ensemble.thresholds,
        ood_scores=np.mean(scores, axis=0, dtype=np.float32),
        disagreements=disagreement(probabilities, primary_tree(ensemble.leaf_types)[1]),
    )


def _cell(box: Box, score: float, decision: Decision) -> CellAnswer:
    return CellAnswer(
        (box.x0, box.y0, box.x1, box.y1),
        score,
        decision.cell_type.value,
        decision.probability,
        decision.identified,
    )


def _counts(found: Candidates, kinds: Sequence[Kind]) -> dict[str, int]:
    times = Counter(found.kinds.tolist())
    return {kind.value: times[position] for position, kind in enumerate(kinds)}
