"""What a network is trained to tell apart, and the crops that it learns it from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hemaserve.cells import LEAF_TYPES
from training import crops, datasets
from training.crops import CONTEXTUAL, CropSet, served


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a network is shown.

    Attributes:
        train: context crops of the laboratory that has most of them.
        others: context crops of the other laboratories, for the joint epochs; None when there are none.
        held_out: served crops that show how it goes, and that calibrate.
    """

    train: CropSet
    others: CropSet | None
    held_out: CropSet


@dataclass(frozen=True, slots=True)
class Task:
    """What a network tells apart.

    Attributes:
        classes: names of its outputs.
        tree: 0/1 [classes, parents], see `datasets.roll_up`.
        context: side of a context crop over that of a served one, see `crops.CONTEXT`.
        load: reads what is learned from, with held-out crops of a side in pixels.
        validation: reads the crops that measure, of a side in pixels.
    """

    classes: tuple[str, ...]
    tree: NDArray[np.float32]
    context: float
    load: Callable[[int], Lesson]
    validation: Callable[[int], CropSet]


def types_task(held_out_share: float = datasets.CALIBRATION_SHARE, *, others: bool = True) -> Task:
    """To name cells.

    Args:
        held_out_share: of each type of PBC's training tiles.
        others: whether BCCD's cells take part in the joint epochs.
    """

    def load(side: int) -> Lesson:
        tiles = datasets.pbc_tiles("train")
        kept_out = datasets.calibration_split([tile.cell_type for tile in tiles], held_out_share)
        return Lesson(
            train=crops.pbc_crops("train", CONTEXTUAL).where(~kept_out),
            others=crops.bccd_crops("train", CONTEXTUAL) if others else None,
            held_out=crops.pbc_crops("train", served(side)).where(kept_out),
        )

    def validation(side: int) -> CropSet:
        return crops.pbc_crops("val", served(side))

    return Task(tuple(LEAF_TYPES), datasets.roll_up(), crops.CONTEXT, load, validation)


TYPES = types_task()
#: Of networks to which all other laboratories are to stay strangers.
PBC_TYPES = types_task(others=False)
