"""The data sets beside the PBC tiles and the smear fields: BCCD's typed cells, leukemia fields, and Mooney's fields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hemaserve.cells import CellType, Kind, parse_cell_type
from hemaserve.evaluation import datasets as folders
from hemaserve.geometry import Box
from training.settings import settings

#: Classes of the leukemia fields, in the order of the network's outputs.
LEUKEMIA_CLASSES: Final = ("benign", "early", "pre", "pro")

#: Numbers of the leukemia fields that stay together when some are carved out: neighbours can show the same smear.
BLOCK: Final = 10


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """One cell in a field.

    Attributes:
        path: the field's image file.
        box: around the cell, in the field's pixels.
        cell_type: a primary type.
    """

    path: Path
    box: Box
    cell_type: CellType


@dataclass(frozen=True, slots=True)
class LabelledLeukemiaField:
    """One field of the leukemia set.

    Attributes:
        path: the image file.
        label: one of `LEUKEMIA_CLASSES`.
        block: the tens of the number in the file's name; counts within a label. Fields of one label and block may
            show the same smear, so a split keeps them on one side.
    """

    path: Path
    label: str
    block: int


@dataclass(frozen=True, slots=True)
class LabelledMooneyField:
    """One augmented field of Mooney's set.

    Attributes:
        path: the image file. The number that its name begins with is that of a place in a shuffled order, not of the
            photograph that it was made from.
        cell_type: the primary type of its white cell.
    """

    path: Path
    cell_type: CellType


def bccd_cells(split: str) -> list[LabelledBox]:
    """The white cells of ``train`` or ``val`` of BCCD whose type is certain, in a stable order.

    BCCD types a field, not a box. So the boxes of a field count only when it lists as many types as it has boxes of
    white cells and all the types are the same: which of two different cells is which is not recorded.

    Raises:
        FileNotFoundError: the data folder has no such split.
        InvalidArgument: an annotation cannot be read.
    """
    cells = []
    for field in folders.read_voc(_folder("bccd", split)):
        boxes = [labelled.box for labelled in field.boxes if labelled.kind is Kind.WBC]
        if len(boxes) == len(field.cell_types) and len(set(field.cell_types)) == 1:
            cells += [LabelledBox(field.path, box, field.cell_types[0]) for box in boxes]
    return cells


def leukemia_fields(split: str) -> list[LabelledLeukemiaField]:
    """The fields of ``train`` or ``val`` of the leukemia set, by class and number.

    Raises:
        FileNotFoundError: the data folder has no such split, or a class is missing in it.
        ValueError: a file's name is not a number.
    """
    return [
        LabelledLeukemiaField(path, label, int(path.stem) // BLOCK)
        for label in LEUKEMIA_CLASSES
        for path in folders.images_in(_folder("leukemia", split, label))
    ]


def mooney_fields(split: str) -> list[LabelledMooneyField]:
    """The fields of Mooney's set, of which there is only ``train``, by type and file name.

    Only to repeat a paper's task on that set, never for a network that serves: each original is there some thirty
    times, and the originals are BCCD's fields, of either side of its split.

    Raises:
        FileNotFoundError: the data folder has no such split.
    """
    return [
        LabelledMooneyField(path, parse_cell_type(folder.name))
        for folder in _subfolders(_folder("mooney", split))
        for path in folders.images_in(folder)
    ]


def _folder(*parts: str) -> Path:
    folder = settings().data.joinpath(*parts)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} does not exist; set HEMASERVE_DATA")
    return folder


def _subfolders(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.iterdir()) if path.is_dir())
