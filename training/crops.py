"""The crops of labelled cells, cut around boxes and kept as arrays on disk."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemaserve import imaging
from hemaserve.geometry import Box
from training import datasets, sources
from training.progress import track
from training.settings import settings
from training.tile_boxes import boxes_of

#: Side of a served crop, in pixels.
CROP_PX: Final = 96

#: Margin of a served crop around the detection, as a share of its longer side (see `hemaserve.imaging.cut_crop`).
CROP_MARGIN: Final = 0.15

#: Side of a served crop over that of its box.
_SERVED_RATIO: Final = 1 + 2 * CROP_MARGIN

#: Training augments from crops with this many times a served crop's side, so that shifts and rotations find context.
CONTEXT: Final = 1.5

#: Side of such a context crop in pixels: its middle has the resolution of a served crop of 128 px.
CONTEXT_PX: Final = 192


@dataclass(frozen=True, slots=True)
class CropSet:
    """The crops of a split.

    Attributes:
        crops: uint8 [N, S, S, 3] RGB.
        mask: bool [N, classes], the classes that each label allows, see `datasets.leaf_mask`.
    """

    crops: NDArray[np.uint8]
    mask: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.mask)

    def where(self, chosen: NDArray[np.bool_]) -> CropSet:
        return CropSet(self.crops[chosen], self.mask[chosen])

    def joined(self, other: CropSet) -> CropSet:
        """This set's crops, then the other's."""
        return CropSet(np.concatenate([self.crops, other.crops]), np.concatenate([self.mask, other.mask]))


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

    def path(self, name: str) -> Path:
        return settings().runs / "crops" / f"{name}-{self.name}-{self.size}.npy"


CONTEXTUAL: Final = Purpose("context", CONTEXT_PX, (_SERVED_RATIO * CONTEXT - 1) / 2)


def served(side: int = CROP_PX) -> Purpose:
    """Crops of `side` px exactly as serving cuts them: what calibration and evaluation look at."""
    return Purpose("served", side, CROP_MARGIN)


def pbc_crops(split: str, purpose: Purpose) -> CropSet:
    """The crops of the PBC tiles, around the detector's boxes."""
    tiles = datasets.pbc_tiles(split)
    boxes = boxes_of(split)
    places = [(tile.path, boxes.get(tile.key)) for tile in tiles]
    return CropSet(
        cut(f"pbc-{split}", places, purpose), datasets.leaf_mask([tile.cell_type for tile in tiles])
    )


def bccd_crops(split: str, purpose: Purpose) -> CropSet:
    """The crops of the BCCD cells whose type is known, around the labelled boxes."""
    labelled = sources.bccd_cells(split)
    places = [(cell.path, cell.box) for cell in labelled]
    return CropSet(
        cut(f"bccd-{split}", places, purpose), datasets.leaf_mask([cell.cell_type for cell in labelled])
    )


def cut(name: str, places: Sequence[tuple[Path, Box | None]], purpose: Purpose) -> NDArray[np.uint8]:
    """The crop around each box, uint8 [N, S, S, 3], cut once and kept under `name`; no box means the tile's middle."""
    path = purpose.path(name)
    if path.exists():
        stored: NDArray[np.uint8] = np.load(path, mmap_mode="r")
        if len(stored) == len(places):
            return stored
    crops = np.empty((len(places), purpose.size, purpose.size, 3), np.uint8)

    def cut_one(index: int) -> None:
        image_path, box = places[index]
        image = imaging.decode(image_path.read_bytes())
        crops[index] = imaging.cut_crop(
            image, box or datasets.fallback_box(image.shape[0]), size=purpose.size, margin=purpose.margin
        )

    # Pillow decodes and scales without holding Python's lock.
    with ThreadPoolExecutor(settings().threads) as pool:
        for _ in track(pool.map(cut_one, range(len(places))), f"crops of {name}", total=len(places)):
            pass
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path.with_suffix(".part.npy"), crops)
    path.with_suffix(".part.npy").rename(path)
    return crops


def forget(name: str) -> None:
    """Remove a set's crops, because the boxes they were cut around have changed."""
    for path in (settings().runs / "crops").glob(f"{name}-*.npy"):
        path.unlink()
