"""Mooney's set as a task: whole fields with one white cell, some thirty augmentations of each of some 400 originals."""

from __future__ import annotations

import logging
import shutil
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
from training.settings import settings
from training.sources import LabelledMooneyField, mooney_fields
from training.tasks import Lesson, Task

log = logging.getLogger(__name__)

#: Share of the fields, or of the originals, that measure; and that is kept out of training to calibrate on.
VALIDATION_SHARE: Final = 0.2
HELD_OUT_SHARE: Final = 0.08


class Split(StrEnum):
    """What is dealt to the sides: originals with all that was made from them, or single fields as if unrelated."""

    ORIGINAL = "original"
    RANDOM = "random"


class Side(StrEnum):
    """What a field is for."""

    TRAIN = "train"
    HELD_OUT = "held-out"
    VAL = "val"


def sides(fields: list[LabelledMooneyField], split: Split) -> NDArray[np.str_]:
    """[N] the `Side` of each field, type by type, by a seeded draw."""
    generator = np.random.default_rng(settings().seed)
    dealt = np.full(len(fields), Side.TRAIN.value, dtype="<U8")
    types = np.array([field.cell_type.value for field in fields])
    for cell_type in sorted(set(types.tolist())):
        members = np.flatnonzero(types == cell_type)
        units = np.array([fields[i].original for i in members]) if split is Split.ORIGINAL else members
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
    for split in Split:
        folder = root / split / Side.VAL
        shutil.rmtree(folder, ignore_errors=True)
        for field, side in zip(fields, sides(fields, split), strict=True):
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
    return everything.where(sides(fields, split) == side)


def _whole(path: Path) -> Box:
    with Image.open(path) as image:
        return Box(0, 0, *image.size)
