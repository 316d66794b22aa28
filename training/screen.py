"""What the leukemia screen is trained on: whole fields by their class, and the cells that the detector finds in them.

The cells' labels are weak: a cell is labelled by its field, and malignant fields hold healthy cells as well. Cells of
another laboratory (PBC) are further negatives, few, and recoloured like all others: telling two laboratories apart
would be a shortcut, not a finding.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemaserve import imaging
from training import crops
from training.crops import CONTEXTUAL, CropSet, Purpose, served
from training.leukemia_boxes import leukemia_boxes
from training.settings import settings
from training.sources import LEUKEMIA_CLASSES, LabelledLeukemiaField, leukemia_fields
from training.tasks import Lesson, Task

#: Side of the square that the field's network sees, in pixels.
FIELD_PX: Final = 160

#: Every so many blocks of neighbouring fields, one is kept out of training, to calibrate on.
_KEPT_OUT_EVERY: Final = 10

#: What the cells' network tells apart.
CELL_CLASSES: Final = ("benign", "blast-like")

#: PBC tiles among the negatives.
_PBC_CELLS: Final = 1500


def kept_out(field: LabelledLeukemiaField) -> bool:
    """Whether a training field calibrates and does not train: whole blocks, for neighbours may show one smear."""
    return field.block % _KEPT_OUT_EVERY == 3


def fields(split: str) -> CropSet:
    """The fields as the network sees them, masked and letterboxed: uint8 [N, FIELD_PX, FIELD_PX, 3]."""
    labelled = leukemia_fields(split)
    images = [
        imaging.letterbox(imaging.mask_scale_bar(imaging.decode(field.path.read_bytes())), FIELD_PX)[0]
        for field in labelled
    ]
    mask = np.array([[field.label == name for name in LEUKEMIA_CLASSES] for field in labelled])
    return CropSet(np.stack(images), mask)


def cells(split: str, purpose: Purpose) -> CropSet:
    """The crops of the white cells found in the leukemia fields, labelled by their field."""
    found = leukemia_boxes(split)
    places = [(field.path, box) for field, box in found]
    mask = np.array([[field.label == "benign", field.label != "benign"] for field, _ in found])
    return CropSet(crops.cut(f"leukemia-{split}", places, purpose), mask)


def _field_lesson(side: int) -> Lesson:  # noqa: ARG001 - fields have one size
    everything = fields("train")
    out = _kept_out_rows(leukemia_fields("train"))
    return Lesson(everything.where(~out), None, everything.where(out))


def _cell_lesson(side: int) -> Lesson:
    out = _kept_out_rows([field for field, _ in leukemia_boxes("train")])
    tiles = crops.pbc_crops("train", CONTEXTUAL)
    chosen = np.random.default_rng(settings().seed).choice(len(tiles), _PBC_CELLS, replace=False)
    negatives = CropSet(tiles.crops[np.sort(chosen)], np.tile([True, False], (_PBC_CELLS, 1)))
    return Lesson(
        cells("train", CONTEXTUAL).where(~out).joined(negatives),
        None,
        cells("train", served(side)).where(out),
    )


def _kept_out_rows(labelled: list[LabelledLeukemiaField]) -> NDArray[np.bool_]:
    return np.array([kept_out(field) for field in labelled])


FIELD_TASK: Final = Task(
    LEUKEMIA_CLASSES,
    np.eye(len(LEUKEMIA_CLASSES), dtype=np.float32),
    1.0,
    _field_lesson,
    lambda side: fields("val"),  # noqa: ARG005
)
CELL_TASK: Final = Task(
    CELL_CLASSES,
    np.eye(len(CELL_CLASSES), dtype=np.float32),
    crops.CONTEXT,
    _cell_lesson,
    lambda side: cells("val", served(side)),
)
