"""Crops of labelled cells, and what the networks are shown of them."""

import json

import numpy as np
import pytest

from hemaserve.cells import LEAF_TYPES, CellType
from hemaserve.geometry import Box
from training import crops, tasks
from training.crops import CONTEXT, CONTEXT_PX, CONTEXTUAL, CROP_PX, CropSet, Purpose, cut, served
from training.datasets import leaf_mask
from training.recipes import LITERATURE

_SMALL = Purpose("small", 16, 0.0)


@pytest.fixture
def laboratory(place, save_image):
    """Twenty PBC tiles with a box each but the first, and a field of BCCD with one eosinophil."""
    for index in range(20):
        # The noise goes with the length of the name: no two tiles are alike.
        save_image(f"pbc/train/monocyte/{'M' * (index + 1)}.png", 40, 40).rename(
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
    first = cut("pbc-train", [(path, Box(0, 0, 16, 16))], served()).copy()
    elsewhere = [(path, Box(20, 20, 36, 36))]
    np.testing.assert_array_equal(cut("pbc-train", elsewhere, served()), first)
    crops.forget("pbc-train")
    assert (cut("pbc-train", elsewhere, served()) != first).any()


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
    lesson = tasks.TYPES.load(64)
    assert len(lesson.train) + len(lesson.held_out) == 20
    assert len(lesson.held_out) == round(0.08 * 20)
    assert lesson.train.crops.shape[1] == CONTEXTUAL.size
    assert lesson.held_out.crops.shape[1] == 64


def test_bccd_takes_part_in_the_joint_epochs_only(laboratory):
    lesson = tasks.TYPES.load(64)
    eosinophil = LEAF_TYPES.index(CellType.EOSINOPHIL)
    assert lesson.others is not None
    assert lesson.others.mask[:, eosinophil].tolist() == [True]
    assert not lesson.train.mask[:, eosinophil].any()
    assert not lesson.held_out.mask[:, eosinophil].any()


def test_crops_of_another_side_are_kept_apart(save_image):
    path = save_image("field.png", 40, 40)
    assert served() == served(CROP_PX)
    for side in (96, 128):
        assert cut("set", [(path, Box(0, 0, 16, 16))], served(side)).shape == (1, side, side, 3)
    assert served(96).path("set") != served(128).path("set")
    assert served(96).margin == served(128).margin


def test_context_has_the_resolution_of_the_largest_crops_that_the_literature_takes():
    assert CONTEXT_PX == CONTEXT * 128
    assert max(recipe.side_px for recipe in LITERATURE) == 128


@pytest.mark.parametrize("share", [0.08, 0.1, 0.2, 0.5])
def test_a_task_holds_out_the_share_it_is_told(laboratory, share):
    lesson = tasks.types_task(share, others=False).load(32)
    assert lesson.others is None
    assert len(lesson.held_out) == round(share * 20)
    assert len(lesson.train) + len(lesson.held_out) == 20
    assert lesson.held_out.crops.shape[1] == 32


def test_the_held_out_tiles_are_no_training_tiles(laboratory):
    lesson = tasks.types_task(0.5, others=False).load(CONTEXTUAL.size)
    both = np.concatenate([lesson.train.crops, lesson.held_out.crops])
    whole = crops.pbc_crops("train", served(CONTEXTUAL.size)).crops
    # The held-out crops are cut closer: of each tile, exactly one of the two is there.
    held = {crop.tobytes() for crop in lesson.held_out.crops}
    wide = {crop.tobytes() for crop in lesson.train.crops}
    everything = [crop.tobytes() for crop in whole]
    contextual = [crop.tobytes() for crop in crops.pbc_crops("train", CONTEXTUAL).crops]
    assert len(both) == 20
    assert [(near in held) + (far in wide) for near, far in zip(everything, contextual, strict=True)] == [
        1
    ] * 20


def test_networks_of_the_literature_are_told_of_no_other_laboratory(laboratory):
    assert {recipe.task for recipe in LITERATURE if recipe.task is not tasks.PBC_TYPES} == set()
    assert tasks.PBC_TYPES.load(64).others is None
