"""Where the detector sees the cell of each PBC tile, cached: crops are cut around detections, as in serving."""

from __future__ import annotations

import json
import logging
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemaserve import geometry, imaging
from training import detector
from training.datasets import LabelledTile, pbc_tiles
from training.detector import DetectorRecipe
from training.progress import track
from training.tile_boxes import cache_path

log = logging.getLogger(__name__)

#: Detections below this score are not looked at.
SCORE_THRESHOLD: Final = 0.25

#: Suppression: boxes that overlap a better one by more than this are dropped.
NMS_IOU: Final = 0.6

_BATCH: Final = 16

#: Single-cell tiles show a leukocyte, an erythroblast or a platelet in their middle, never a plain red cell.
_WANTED: Final = tuple(detector.KINDS.index(kind) for kind in ("wbc", "platelet"))


def find_boxes(split: str, recipe: DetectorRecipe) -> float:
    """Run the detector over a split and cache one box per tile. Returns the share of tiles that have one."""
    tiles = pbc_tiles(split)
    network = detector.Runner(recipe)
    found: dict[str, list[float] | None] = {}
    starts = range(0, len(tiles), _BATCH)
    for start in track(starts, f"boxes of {split}"):
        found |= _boxes(network, tiles[start : start + _BATCH])
    path = cache_path(split)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))
    share = float(np.mean([box is not None for box in found.values()]))
    log.info("%s: %.1f%% of %d tiles have a box", split, 100 * share, len(tiles))
    return share


def central_box(
    boxes: NDArray[np.float32], kinds: NDArray[np.int64], center: tuple[float, float]
) -> list[float] | None:
    """Of the WBC and platelet detections that contain `center`, the one whose own centre is nearest to it.

    Args:
        boxes: [N, 4] x0, y0, x1, y1.
        kinds: [N] index into `detector.KINDS`.
        center: x, y in the boxes' pixels.
    """
    x, y = center
    inside = (boxes[:, 0] <= x) & (x < boxes[:, 2]) & (boxes[:, 1] <= y) & (y < boxes[:, 3])
    candidates = boxes[inside & np.isin(kinds, _WANTED)]
    if not len(candidates):
        return None
    middles = (candidates[:, :2] + candidates[:, 2:]) / 2
    nearest = int(np.square(middles - np.array(center)).sum(axis=1).argmin())
    return [round(float(corner), 2) for corner in candidates[nearest]]


def _boxes(network: detector.Runner, tiles: list[LabelledTile]) -> dict[str, list[float] | None]:
    images = [imaging.decode(tile.path.read_bytes()) for tile in tiles]
    answer: dict[str, list[float] | None] = {}
    for tile, image, (boxes, scores) in zip(tiles, images, network.predict(images), strict=True):
        best = scores.max(axis=1)
        good = np.flatnonzero(best >= SCORE_THRESHOLD)
        height, width = image.shape[:2]
        inside = np.clip(boxes[good], 0, np.array([width, height] * 2, np.float32))
        kept = geometry.nms(inside, best[good], iou_threshold=NMS_IOU)
        kinds = scores[good].argmax(axis=1)
        answer[tile.key] = central_box(inside[kept], kinds[kept], (width / 2, height / 2))
    return answer
