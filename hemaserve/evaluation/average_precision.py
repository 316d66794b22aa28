"""Average precision as COCO defines it, computed by COCO's own code (pycocotools). Pure."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from hemaserve.cells import Kind
from hemaserve.evaluation import extra
from hemaserve.geometry import Box

MOST_DETECTIONS: Final = 1000
"""Detections of one kind in one field that are looked at. COCO's 100 is too few: a field may hold several hundred red
cells."""

_CATEGORIES: Final = {kind: number for number, kind in enumerate(Kind, start=1)}


@dataclass(frozen=True, slots=True)
class ScoredBox:
    """What the detector found: a box in pixels, its kind, and its score, 0 to 1."""

    box: Box
    kind: Kind
    score: float


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """Average precision, 0 to 1, of each kind that is labelled anywhere.

    Attributes:
        at_50: at an overlap (IoU) of 0.5.
        at_50_to_95: the mean over overlaps of 0.5, 0.55, ... 0.95.
    """

    at_50: dict[Kind, float]
    at_50_to_95: dict[Kind, float]

    @property
    def mean_at_50(self) -> float | None:
        """mAP50: the plain mean over the labelled kinds; None when nothing is labelled."""
        return _mean(self.at_50)

    @property
    def mean_at_50_to_95(self) -> float | None:
        """mAP50-95."""
        return _mean(self.at_50_to_95)


def _mean(by_kind: dict[Kind, float]) -> float | None:
    return sum(by_kind.values()) / len(by_kind) if by_kind else None


def average_precision(
    labelled: Sequence[Sequence[tuple[Box, Kind]]], found: Sequence[Sequence[ScoredBox]]
) -> AveragePrecision:
    """Average precision (101-point interpolation) over fields; the two sequences are parallel, one entry a field.

    Give all that the detector found, low scores included: the curve is cut where the scores end.

    Source: Lin et al., Microsoft COCO, ECCV 2014, and its evaluation code.

    Raises:
        FailedPrecondition: the extra `evaluate` is not installed.
    """
    kinds = [kind for kind in Kind if any(kind is label for boxes in labelled for _, label in boxes)]
    if not kinds:
        return AveragePrecision({}, {})
    truths = [_annotation(i, box, kind) for i, boxes in enumerate(labelled) for box, kind in boxes]
    results = [
        _annotation(i, item.box, item.kind) | {"score": item.score}
        for i, items in enumerate(found)
        for item in items
    ]
    if not results:
        return AveragePrecision(dict.fromkeys(kinds, 0.0), dict.fromkeys(kinds, 0.0))
    precision = _precision(len(labelled), truths, results, kinds)
    return AveragePrecision(
        {kind: float(precision[0, :, k].mean()) for k, kind in enumerate(kinds)},
        {kind: float(precision[:, :, k].mean()) for k, kind in enumerate(kinds)},
    )


def _annotation(image: int, box: Box, kind: Kind) -> dict[str, Any]:
    return {
        "image_id": image,
        "category_id": _CATEGORIES[kind],
        "bbox": [box.x0, box.y0, box.width, box.height],
        "area": box.width * box.height,
        "iscrowd": 0,
    }


def _precision(
    images: int, truths: list[dict[str, Any]], results: list[dict[str, Any]], kinds: Sequence[Kind]
) -> Any:
    """float64 [10 overlaps, 101 recall levels, kinds]."""
    coco_module, evaluation_module = extra.load("pycocotools.coco"), extra.load("pycocotools.cocoeval")
    # pycocotools prints as it goes.
    with contextlib.redirect_stdout(io.StringIO()):
        coco = coco_module.COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": i} for i in range(images)],
            "categories": [{"id": _CATEGORIES[kind], "name": kind.value} for kind in Kind],
            "annotations": [{"id": i, **truth} for i, truth in enumerate(truths, start=1)],
        }
        coco.createIndex()
        evaluation = evaluation_module.COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.params.catIds = [_CATEGORIES[kind] for kind in kinds]
        evaluation.params.maxDets = [MOST_DETECTIONS]
        evaluation.params.areaRng = [[0, float("inf")]]
        evaluation.params.areaRngLbl = ["all"]
        evaluation.evaluate()
        evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"])[:, :, :, 0, 0]
