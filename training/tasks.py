"""What a network is trained to tell apart, and the crops that it learns it from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hemaserve.cells import LEAF_TYPES
from training import crops, datasets
from training.crops import CONTEXTUAL, CropSet


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a network is shown.

    Attributes:
        train: context crops of the laboratory that has most of them.
        others: context crops of the other laboratories, for the joint epochs; None when there are none.
        held_out: served crops that only show how it goes.
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
        load: reads the crops.
    """

    classes: tuple[str, ...]
    tree: NDArray[np.float32]
    context: float
    load: Callable[[], Lesson]


def _types() -> Lesson:
    tiles = datasets.pbc_tiles("train")
    kept_out = datasets.calibration_split([tile.cell_type for tile in tiles])
    return Lesson(
        train=crops.pbc_crops("train", CONTEXTUAL).where(~kept_out),
        others=crops.bccd_crops("train", CONTEXTUAL),
        held_out=crops.served_crops("train").where(kept_out),
    )


TYPES = Task(tuple(LEAF_TYPES), datasets.roll_up(), crops.CONTEXT, _types)
