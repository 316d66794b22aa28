"""Measure a detector on the validation fields as it is served, and choose its score thresholds there."""

from __future__ import annotations

import contextlib
import csv
import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from hemaserve import geometry, imaging
from training import detector
from training.detector import KINDS, DetectorRecipe
from training.progress import track
from training.results import DetectorFigures, KindFigures, TrainingRun, describe_recipe
from training.settings import settings

log = logging.getLogger(__name__)

_LOWEST_SCORE: Final = 0.01
_MATCH_IOU: Final = 0.5
_BATCH: Final = 8


@dataclass(frozen=True, slots=True)
class Field:
    """One field's truth and detections: boxes [N, 4] in its pixels, kinds [N], scores [N]."""

    true_boxes: NDArray[np.float32]
    true_kinds: NDArray[np.int64]
    boxes: NDArray[np.float32]
    kinds: NDArray[np.int64]
    scores: NDArray[np.float32]


def evaluate(recipe: DetectorRecipe) -> DetectorFigures:
    """COCO's mAP and each kind's best F1 on the validation fields, through the exported file."""
    figures = DetectorFigures(name=recipe.name, training=_training_run(recipe))
    fields = _detect(recipe, figures.nms_iou)
    precisions = coco_precisions(fields)
    figures.fields = len(fields)
    figures.map50 = float(precisions[0].mean())
    figures.map50_95 = float(precisions.mean())
    for index, kind in enumerate(KINDS):
        hits, scores, objects = match(fields, index)
        threshold, precision, recall = best_f1(hits, scores, objects)
        figures.kinds[kind] = KindFigures(
            objects=objects,
            average_precision_50=float(precisions[0, index]),
            score_threshold=threshold,
            precision=precision,
            recall=recall,
        )
    figures.write()
    log.info("%s", figures.model_dump_json())
    return figures


def coco_precisions(fields: list[Field]) -> NDArray[np.float64]:
    """COCO's average precision (pycocotools), [10 IoU thresholds from 0.5 to 0.95, kinds]."""
    truth: Any = COCO()
    truth.dataset = {
        "images": [{"id": image} for image in range(len(fields))],
        "categories": [{"id": index, "name": kind} for index, kind in enumerate(KINDS)],
        "annotations": [],
    }
    found: list[dict[str, Any]] = []
    for image, field in enumerate(fields):
        for box, kind in zip(field.true_boxes, field.true_kinds, strict=True):
            annotation = _coco_box(box) | {"image_id": image, "category_id": int(kind), "iscrowd": 0}
            truth.dataset["annotations"].append(annotation | {"id": len(truth.dataset["annotations"]) + 1})
        for box, kind, score in zip(field.boxes, field.kinds, field.scores, strict=True):
            found.append(
                _coco_box(box) | {"image_id": image, "category_id": int(kind), "score": float(score)}
            )
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
        evaluation.params.maxDets = [1, 10, 300]
        evaluation.evaluate()
        evaluation.accumulate()
    # [IoU, recall, kind, area, detections]: all areas, most detections.
    precision: NDArray[np.float64] = evaluation.eval["precision"][:, :, :, 0, -1]
    return np.asarray(precision.mean(axis=1))


def match(fields: list[Field], kind: int) -> tuple[NDArray[np.bool_], NDArray[np.float32], int]:
    """Match one kind's detections to the truth, best score first, at IoU 0.5.

    Returns:
        Whether each detection is a hit, its score, and the number of true objects.
    """
    hits: list[bool] = []
    scores: list[float] = []
    objects = 0
    for field in fields:
        true = field.true_boxes[field.true_kinds == kind]
        chosen = field.kinds == kind
        order = np.argsort(-field.scores[chosen])
        overlap = geometry.iou_matrix(field.boxes[chosen][order], true)
        objects += len(true)
        for row, score in zip(overlap, field.scores[chosen][order], strict=True):
            best = int(row.argmax()) if row.size else -1
            hit = best >= 0 and row[best] >= _MATCH_IOU
            if hit:
                overlap[:, best] = 0  # an object is found once
            hits.append(hit)
            scores.append(float(score))
    return np.array(hits, bool), np.array(scores, np.float32), objects


def best_f1(hits: NDArray[np.bool_], scores: NDArray[np.float32], objects: int) -> tuple[float, float, float]:
    """The score threshold (two decimals) with the best F1, and the precision and recall there."""
    best = (-1.0, 0.5, 0.0, 0.0)
    for threshold in np.arange(0.05, 0.95, 0.01):
        chosen = scores >= threshold
        precision = float(hits[chosen].mean()) if chosen.any() else 0.0
        recall = float(hits[chosen].sum() / max(objects, 1))
        f1 = 2 * precision * recall / max(precision + recall, 1e-9)
        best = max(best, (f1, round(float(threshold), 2), precision, recall))
    return best[1:]


def _detect(recipe: DetectorRecipe, nms_iou: float) -> list[Field]:
    root = settings().data / "smear_fields"
    paths = sorted((root / "images" / "val").iterdir())
    runner = detector.Runner(recipe)
    fields: list[Field] = []
    for start in track(range(0, len(paths), _BATCH), "validation fields"):
        chunk = paths[start : start + _BATCH]
        images = [imaging.decode(path.read_bytes()) for path in chunk]
        for path, image, (boxes, scores) in zip(chunk, images, runner.predict(images), strict=True):
            true_boxes, true_kinds = _truth(
                root / "labels" / "val" / f"{path.stem}.txt", image.shape[1], image.shape[0]
            )
            fields.append(Field(true_boxes, true_kinds, *_suppress(boxes, scores, nms_iou)))
    return fields


def _suppress(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], nms_iou: float
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    kinds, best = scores.argmax(axis=1), scores.max(axis=1)
    keep: list[int] = []
    for kind in range(len(KINDS)):
        rows = np.flatnonzero((kinds == kind) & (best >= _LOWEST_SCORE))
        keep += rows[geometry.nms(boxes[rows], best[rows], iou_threshold=nms_iou)].tolist()
    return boxes[keep], kinds[keep], best[keep]


def _truth(path: Path, width: int, height: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rows = np.loadtxt(path, ndmin=2, dtype=np.float32).reshape(-1, 5)
    center, size = rows[:, 1:3], rows[:, 3:5]
    corners = np.concatenate([center - size / 2, center + size / 2], axis=1)
    return np.asarray(corners * np.array([width, height] * 2, np.float32)), rows[:, 0].astype(np.int64)


def _coco_box(box: NDArray[np.float32]) -> dict[str, Any]:
    x0, y0, x1, y1 = map(float, box)
    return {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}


def _training_run(recipe: DetectorRecipe) -> TrainingRun:
    with (recipe.folder / "results.csv").open() as file:
        rows = [{key.strip(): value for key, value in row.items()} for row in csv.DictReader(file)]
    # What it was really shown: some laboratories may be left out, and tiles added.
    fields = len(list((recipe.folder / "dataset" / "images" / "train").iterdir()))
    return TrainingRun(
        epochs=len(rows),
        seconds=float(rows[-1]["time"]),
        crops=fields,
        threads=settings().threads,
        seed=settings().seed,
        device="cuda" if torch.cuda.is_available() else "cpu",
        recipe=describe_recipe(recipe),
    )
