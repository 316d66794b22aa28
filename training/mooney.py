"""Mooney's set as a task: whole fields with one white cell, made from some 280 photographs, 16 to 155 of each.

Their names do not say which of them were made from the same one; what is in them does, see `training.photographs`.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemaserve.cells import LEAF_TYPES
from hemaserve.geometry import Box
from training import crops, datasets
from training.crops import CropSet, Purpose
from training.photographs import same_photograph
from training.progress import track
from training.settings import settings
from training.sources import LabelledMooneyField, mooney_fields
from training.tasks import Lesson, Task

log = logging.getLogger(__name__)

#: Share of the fields, or of the photographs, that measure; and that is kept out of training to calibrate on.
VALIDATION_SHARE: Final = 0.2
HELD_OUT_SHARE: Final = 0.08


class Split(StrEnum):
    """What is dealt to the sides: photographs with all that was made from them, or single fields as if unrelated."""

    ORIGINAL = "original"
    RANDOM = "random"


class Side(StrEnum):
    """What a field is for."""

    TRAIN = "train"
    HELD_OUT = "held-out"
    VAL = "val"
    LEFT_OUT = "left-out"


def photographs(fields: Sequence[LabelledMooneyField]) -> list[int | None]:
    """The number of the photograph that each field was made from, within its type; None where that cannot be told.

    Found by what is in the fields, once: a few minutes.
    """
    path = settings().runs / "mooney-photographs.json"
    names = [f"{field.cell_type.value}/{field.path.name}" for field in fields]
    known: dict[str, int | None] = json.loads(path.read_text()) if path.exists() else {}
    if known.keys() != set(names):
        known = {}
        for cell_type in sorted({field.cell_type for field in fields}):
            own = [place for place, field in enumerate(fields) if field.cell_type is cell_type]
            paths = track([fields[place].path for place in own], f"photographs of {cell_type.value}")
            numbers = in_sound_groups(same_photograph(paths))
            known |= zip([names[place] for place in own], numbers, strict=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(known))
    return [known[name] for name in names]


def in_sound_groups(numbers: Sequence[int]) -> list[int | None]:
    """The same, but None in groups of less than half of what is usual: parts of photographs that have hardly a feature.

    As many fields were made from each photograph of a type. What is usual is the size of the group that the median
    field is in.
    """
    sizes = Counter(numbers)
    usual = float(np.median([sizes[number] for number in numbers]))
    return [number if sizes[number] >= usual / 2 else None for number in numbers]


def sides(
    fields: Sequence[LabelledMooneyField], split: Split, made_from: Sequence[int | None]
) -> NDArray[np.str_]:
    """[N] the `Side` of each field, type by type, by a seeded draw.

    Args:
        made_from: the photograph of each field, see `photographs`; split by original, those without one are left out.
    """
    generator = np.random.default_rng(settings().seed)
    dealt = np.full(len(fields), Side.TRAIN.value, dtype="<U8")
    units_of_all = np.array([-1 if number is None else number for number in made_from])
    if split is Split.RANDOM:
        units_of_all = np.arange(len(fields))
    dealt[units_of_all < 0] = Side.LEFT_OUT
    types = np.array([field.cell_type.value for field in fields])
    for cell_type in sorted(set(types.tolist())):
        members = np.flatnonzero((types == cell_type) & (units_of_all >= 0))
        units = units_of_all[members]
        shuffled = generator.permutation(np.unique(units))
        measured = round(VALIDATION_SHARE * len(shuffled))
        kept = measured + round(HELD_OUT_SHARE * len(shuffled))
        dealt[members[np.isin(units, shuffled[:measured])]] = Side.VAL
        dealt[members[np.isin(units, shuffled[measured:kept])]] = Side.HELD_OUT
    return dealt


def mooney_task(split: Split) -> Task:
    """The task with one of the splits. The networks have all leaf types; the labels are four types."""

    def load(side: int) -> Lesson:
        return Lesson(_crops(side, split, Side.TRAIN), None, _crops(side, split, Side.HELD_OUT))

    def validation(side: int) -> CropSet:
        return _crops(side, split, Side.VAL)

    return Task(tuple(LEAF_TYPES), datasets.roll_up(), 1.0, load, validation)


def write_folders(root: Path) -> None:
    """Write each split's validation side below `root`, as ``SPLIT/val/TYPE/*.png``, for `hemaserve evaluate cells`."""
    fields = mooney_fields("train")
    made_from = photographs(fields)
    for split in Split:
        folder = root / split / Side.VAL
        shutil.rmtree(folder, ignore_errors=True)
        for field, side in zip(fields, sides(fields, split, made_from), strict=True):
            if side == Side.VAL:
                target = folder / field.cell_type.value / f"{field.path.stem}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                with Image.open(field.path) as image:
                    image.save(target)
        log.info("%s: %d fields in %s", split, len(list(folder.glob("*/*"))), folder)


def _crops(side_px: int, split: Split, side: Side) -> CropSet:
    fields = mooney_fields("train")
    places = [(field.path, _whole(field.path)) for field in fields]
    everything = CropSet(
        crops.cut("mooney-train", places, Purpose("whole", side_px, 0.0)),
        datasets.leaf_mask([field.cell_type for field in fields]),
    )
    return everything.where(sides(fields, split, photographs(fields)) == side)


def _whole(path: Path) -> Box:
    with Image.open(path) as image:
        return Box(0, 0, *image.size)
