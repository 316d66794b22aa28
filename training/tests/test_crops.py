"""Crops of labelled cells, and what the networks are shown of them."""

import json

import numpy as np
import pytest

from hemaserve.cells import LEAF_TYPES, CellType
from hemaserve.geometry import Box
from training import crops, tasks
from training.crops import CONTEXTUAL, SERVED, CropSet, Purpose, cut
from training.datasets import leaf_mask

_SMALL = Purpose("small", 16, 0.0)


@pytest.fixture
def laboratory(place, save_image):
    """Twenty PBC tiles with a box each but the first, and a field of BCCD with one eosinophil."""
    for index in range(20):
        save_image(f"pbc/train/monocyte/MO_{index:02}.png", 40, 40).rename(
            place.data / f"pbc/train/monocyte/MO_{index:02}.webp"
        )
    boxes = {f"train/monocyte/MO_{index:02}.webp": [5, 5, 30, 30] for index in range(1, 20)}
    cache = place.runs / "boxes" / "pbc-train.json"
    cache.parent.mkdir(parents=True)
    cache.write_text(json.dumps(boxes | {"train/monocyte/MO_00.webp": None}))
    save_image("bccd/train/images/field.jpg", 64, 48)
    annotation = place.data / "bccd/train/annotations/field.xml"
    annotation.parent.mkdir()
    annotation.write_text(
        "<annotation><object><name>WBC</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>30</xmax><ymax>30</ymax>"
        "</bndbox></object></annotation>"
    )
    (place.data / "bccd/train/wbc_types.csv").write_text("image,wbc_types\nfield,EOSINOPHIL\n")


def _set(count: int, fill: int = 0) -> CropSet:
    return CropSet(np.full((count, 4, 4, 3), fill, np.uint8), leaf_mask([CellType.MONOCYTE] * count))


def test_crops_are_cut_around_their_boxes(save_image):
    path = save_image("field.png", 40, 40)
    array = cut("fields", [(path, Box(0, 0, 16, 16)), (path, Box(10, 12, 26, 28))], _SMALL)
    assert array.shape == (2, 16, 16, 3)
    assert array.dtype == np.uint8
    assert (array[0] != array[1]).any()


def test_where_no_box_is_known_the_middle_stands_in(save_image):
    path = save_image("tile.png", 40, 40)
    middle, same = cut("tiles", [(path, None), (path, Box(8, 8, 32, 32))], _SMALL)
    np.testing.assert_array_equal(middle, same)


def test_crops_are_cut_once_and_again_after_they_were_forgotten(place, save_image):
    path = save_image("field.png", 40, 40)
    first = cut("pbc-train", [(path, Box(0, 0, 16, 16))], SERVED).copy()
    elsewhere = [(path, Box(20, 20, 36, 36))]
    np.testing.assert_array_equal(cut("pbc-train", elsewhere, SERVED), first)
    crops.forget("pbc-train")
    assert (cut("pbc-train", elsewhere, SERVED) != first).any()


def test_crops_of_another_number_of_cells_are_not_taken_for_these(save_image):
    path = save_image("field.png", 40, 40)
    cut("set", [(path, Box(0, 0, 16, 16))], _SMALL)
    assert len(cut("set", [(path, Box(0, 0, 16, 16))] * 3, _SMALL)) == 3


def test_a_context_crop_shows_the_served_crop_and_its_surroundings_at_one_scale(save_image):
    path = save_image("field.png", 200, 200)
    box = Box(80, 80, 120, 120)
    (served,) = cut("set", [(path, box)], Purpose("plain", 52, 0.15))
    (context,) = cut("set", [(path, box)], Purpose("wide", 78, CONTEXTUAL.margin))
    np.testing.assert_allclose(context[13:65, 13:65].astype(float), served, atol=2)


def test_sets_are_joined_in_order_and_chosen_from():
    joined = _set(2, fill=1).joined(_set(3, fill=2))
    assert len(joined) == 5
    assert joined.crops[:, 0, 0, 0].tolist() == [1, 1, 2, 2, 2]
    assert joined.where(np.array([False, True, True, False, False])).crops[:, 0, 0, 0].tolist() == [1, 2]


def test_the_calibration_tiles_are_never_trained_on(laboratory):
    lesson = tasks.TYPES.load()
    assert len(lesson.train) + len(lesson.held_out) == 20
    assert len(lesson.held_out) == round(0.08 * 20)
    assert lesson.train.crops.shape[1] == CONTEXTUAL.size
    assert lesson.held_out.crops.shape[1] == SERVED.size


def test_bccd_takes_part_in_the_joint_epochs_only(laboratory):
    lesson = tasks.TYPES.load()
    eosinophil = LEAF_TYPES.index(CellType.EOSINOPHIL)
    assert lesson.others is not None
    assert lesson.others.mask[:, eosinophil].tolist() == [True]
    assert not lesson.train.mask[:, eosinophil].any()
    assert not lesson.held_out.mask[:, eosinophil].any()
