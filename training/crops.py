"""The crops of the PBC tiles, cut around the detector's boxes and kept as arrays on disk."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemaserve import imaging
from training import datasets
from training.boxes import boxes_of
from training.progress import track
from training.settings import settings

#: Side of a served crop, in pixels.
CROP_PX: Final = 96

#: Margin of a served crop around the detection, as a share of its longer side (see `hemaserve.imaging.cut_crop`).
CROP_MARGIN: Final = 0.15

#: Side of a served crop over that of its box.
_SERVED_RATIO: Final = 1 + 2 * CROP_MARGIN

#: Training augments from crops with this many times a served crop's side, so that shifts and rotations find context.
CONTEXT: Final = 1.5

#: Side of such a context crop in pixels: its middle has a served crop's resolution and a tenth more.
CONTEXT_PX: Final = 160


@dataclass(frozen=True, slots=True)
class CropSet:
    """The crops of a split.

    Attributes:
        crops: uint8 [N, S, S, 3] RGB.
        mask: bool [N, leaves], see `datasets.leaf_mask`.
    """

    crops: NDArray[np.uint8]
    mask: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.mask)

    def where(self, chosen: NDArray[np.bool_]) -> CropSet:
        return CropSet(self.crops[chosen], self.mask[chosen])


@dataclass(frozen=True, slots=True)
class Purpose:
    """What crops are cut for.

    Attributes:
        name: part of the cache file's name.
        size: side in pixels.
        margin: around the box, as `hemaserve.imaging.cut_crop` takes it.
    """

    name: str
    size: int
    margin: float

    def path(self, split: str) -> Path:
        return settings().runs / "crops" / f"pbc-{split}-{self.name}-{self.size}.npy"


SERVED: Final = Purpose("served", CROP_PX, CROP_MARGIN)
CONTEXTUAL: Final = Purpose("context", CONTEXT_PX, (_SERVED_RATIO * CONTEXT - 1) / 2)


def served_crops(split: str) -> CropSet:
    """The crops exactly as serving cuts them: what calibration and evaluation look at."""
    return _load(split, SERVED)


def context_crops(split: str) -> CropSet:
    """Wider crops that training augments from: `CONTEXT` times a served crop's side, `CONTEXT_PX` wide."""
    return _load(split, CONTEXTUAL)


def cut(split: str, purposes: Sequence[Purpose]) -> None:
    """Cut a split's crops around the cached boxes, for each purpose that has none yet; decodes each tile once."""
    missing = [purpose for purpose in purposes if not purpose.path(split).exists()]
    if not missing:
        return
    tiles, boxes = datasets.pbc_tiles(split), boxes_of(split)
    arrays = [np.empty((len(tiles), p.size, p.size, 3), np.uint8) for p in missing]

    def cut_one(index: int) -> None:
        tile = tiles[index]
        image = imaging.decode(tile.path.read_bytes())
        box = boxes.get(tile.key) or datasets.fallback_box(image.shape[0])
        for array, purpose in zip(arrays, missing, strict=True):
            array[index] = imaging.cut_crop(image, box, size=purpose.size, margin=purpose.margin)

    # Pillow decodes and scales without holding Python's lock.
    with ThreadPoolExecutor(settings().threads) as pool:
        for _ in track(pool.map(cut_one, range(len(tiles))), f"crops of {split}", total=len(tiles)):
            pass
    for array, purpose in zip(arrays, missing, strict=True):
        path = purpose.path(split)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path.with_suffix(".part.npy"), array)
        path.with_suffix(".part.npy").rename(path)


def forget(split: str) -> None:
    """Remove a split's crops, because the boxes they were cut around have changed."""
    for purpose in (SERVED, CONTEXTUAL):
        purpose.path(split).unlink(missing_ok=True)


def _load(split: str, purpose: Purpose) -> CropSet:
    cut(split, [purpose])
    mask = datasets.leaf_mask([tile.cell_type for tile in datasets.pbc_tiles(split)])
    return CropSet(np.load(purpose.path(split), mmap_mode="r"), mask)
