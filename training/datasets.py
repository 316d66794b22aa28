"""The PBC single-cell tiles: their labels as sets of leaves, and their splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemaserve import cells
from hemaserve.cells import LEAF_TYPES, PRIMARY_TYPES, CellType
from hemaserve.geometry import Box
from training.settings import settings

#: Share of the training tiles that is kept out of training, to calibrate temperatures on.
CALIBRATION_SHARE: Final = 0.08

#: Side of the box that stands in for a missing detection, as a share of the tile's side.
FALLBACK_SHARE: Final = 0.6


@dataclass(frozen=True, slots=True)
class LabelledTile:
    """One tile and what is known of its cell.

    Attributes:
        path: the image file.
        cell_type: a leaf where the file's name tells it, otherwise a primary type.
    """

    path: Path
    cell_type: CellType

    @property
    def key(self) -> str:
        """Identifies the tile across machines: ``split/class/file``."""
        return "/".join(self.path.parts[-3:])


def pbc_tiles(split: str) -> list[LabelledTile]:
    """The tiles of ``train`` or ``val``, in a stable order. The prefix of a file's name is its finest known type.

    Raises:
        FileNotFoundError: the data folder has no such split.
    """
    folder = settings().data / "pbc" / split
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist; set HEMASERVE_DATA")
    paths = sorted(folder.glob("*/*.webp"))
    return [LabelledTile(path, cells.parse_cell_type(path.stem.split("_")[0])) for path in paths]


#: Where the smear fields come from, by their size: the set mixes four laboratories' photographs (Gan & Li 2024).
#: The 416 px fields are transformed BCCD fields, the 360 and 366 px ones are PBC tiles with all their surroundings.
_FIELD_SOURCES: Final = {
    (640, 480): "bccd",
    (416, 416): "bccd",
    (360, 363): "pbc",
    (366, 369): "pbc",
    (575, 575): "raabin",
}


@dataclass(frozen=True, slots=True)
class LabelledField:
    """One smear field.

    Attributes:
        path: the image file.
        labels: its YOLO label file.
        source: the laboratory's set, one of `_FIELD_SOURCES`, or ``other``.
    """

    path: Path
    labels: Path
    source: str


def smear_fields(split: str) -> list[LabelledField]:
    """The fields of ``train`` or ``val``, in a stable order.

    Raises:
        FileNotFoundError: the data folder has no such split.
    """
    root = settings().data / "smear_fields"
    folder = root / "images" / split
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist; set HEMASERVE_DATA")
    fields = []
    for path in sorted(folder.iterdir()):
        with Image.open(path) as image:
            source = _FIELD_SOURCES.get(image.size, "other")
        fields.append(LabelledField(path, root / "labels" / split / f"{path.stem}.txt", source))
    return fields


def leaf_mask(cell_types: Sequence[CellType]) -> NDArray[np.bool_]:
    """[N, leaves]: the leaves that each label allows: one for a leaf's label, all of a parent's for a parent's."""
    matrix = cells.roll_up_matrix(LEAF_TYPES, list(dict.fromkeys(cell_types)))
    column = {cell_type: index for index, cell_type in enumerate(dict.fromkeys(cell_types))}
    return np.array([matrix[:, column[cell_type]] > 0 for cell_type in cell_types])


def primary_index(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[N] index into `PRIMARY_TYPES` of each row of a leaf mask."""
    return np.asarray((mask @ roll_up()).argmax(axis=1), np.int64)


def roll_up() -> NDArray[np.float32]:
    """[leaves, primary types] 0/1 matrix that sums leaves' probabilities into those of the primary types."""
    return cells.roll_up_matrix(LEAF_TYPES, PRIMARY_TYPES)


def calibration_split(cell_types: Sequence[CellType], share: float = CALIBRATION_SHARE) -> NDArray[np.bool_]:
    """[N] True for the tiles that calibrate and do not train: `share` of each type, by a seeded draw."""
    generator = np.random.default_rng(settings().seed)
    types = np.array([cell_type.value for cell_type in cell_types])
    chosen = np.zeros(len(types), bool)
    for cell_type in sorted(set(types.tolist())):
        members = np.flatnonzero(types == cell_type)
        chosen[generator.choice(members, round(share * len(members)), replace=False)] = True
    return chosen


def fallback_box(side: int) -> Box:
    """The middle of a square tile: stands in where the detector found no cell there."""
    margin = side * (1 - FALLBACK_SHARE) / 2
    return Box(margin, margin, side - margin, side - margin)
