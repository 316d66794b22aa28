"""What the leukemia screen is trained on, and from where it flags."""

import json

import numpy as np
import pytest
from PIL import Image

from training import screen
from training.crops import served
from training.leukemia_boxes import cache_path, leukemia_boxes
from training.screen_figures import choose_threshold
from training.sources import LEUKEMIA_CLASSES, leukemia_fields


@pytest.fixture
def fields(place, save_image):
    """Twelve fields of each class in two blocks, with one cell each; numbers 30 to 35 are of a block kept out."""
    found = {}
    for label in LEUKEMIA_CLASSES:
        for number in (*range(10, 16), *range(30, 36)):
            save_image(f"leukemia/train/{label}/{number:04}.png", 64, 64)
            found[f"{label}/{number:04}.png"] = [[10, 10, 40, 40]]
    path = cache_path("train")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(found))


@pytest.fixture
def tiles(place, save_image, monkeypatch):
    for index in range(6):
        save_image(f"pbc/train/monocyte/MO_{index}.png", 40, 40).rename(
            place.data / f"pbc/train/monocyte/MO_{index}.webp"
        )
    cache = place.runs / "boxes" / "pbc-train.json"
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text("{}")
    monkeypatch.setattr(screen, "_PBC_CELLS", 5)


def test_neighbouring_fields_are_kept_out_together(fields):
    out = {(field.label, field.block) for field in leukemia_fields("train") if screen.kept_out(field)}
    assert out == {(label, 3) for label in LEUKEMIA_CLASSES}


def test_fields_that_calibrate_do_not_train(fields):
    lesson = screen.FIELD_TASK.load(screen.FIELD_PX)
    assert (len(lesson.train), len(lesson.held_out)) == (24, 24)
    assert lesson.others is None
    assert lesson.train.crops.shape[1:] == (screen.FIELD_PX, screen.FIELD_PX, 3)
    np.testing.assert_array_equal(lesson.train.mask.sum(axis=0), [6, 6, 6, 6])


def test_the_scale_bar_is_masked_whatever_is_burned_in(place, fields):
    before = screen.fields("train").crops.copy()
    path = place.data / "leukemia/train/benign/0010.png"
    with Image.open(path) as image:
        burned = image.convert("RGB")
    burned.paste((255, 255, 255), (burned.width - 4, burned.height - 4, burned.width, burned.height))
    burned.save(path)
    # The corner takes the field's background colour, of which the bar is a small part.
    np.testing.assert_allclose(screen.fields("train").crops.astype(int), before, atol=3)


def test_cells_are_labelled_by_their_field(fields):
    cells = screen.cells("train", served())
    labels = [field.label for field, _ in leukemia_boxes("train")]
    assert cells.mask.sum(axis=1).tolist() == [1] * len(labels)
    assert [bool(row[0]) for row in cells.mask] == [label == "benign" for label in labels]


def test_cells_of_another_laboratory_are_negatives_in_training_only(fields, tiles):
    lesson = screen.CELL_TASK.load(96)
    assert len(lesson.train) == 24 + 5
    assert lesson.train.mask[24:].tolist() == [[True, False]] * 5
    assert len(lesson.held_out) == 24


def test_the_flag_reaches_its_sensitivity_with_the_greatest_threshold():
    probability = np.array([0.05, 0.2, 0.3, 0.45, 0.9, 0.99])
    malignant = np.array([False, False, True, True, True, True])
    assert choose_threshold(probability, malignant, target=1.0) == pytest.approx(0.3)
    assert choose_threshold(probability, malignant, target=0.75) == pytest.approx(0.45)


def test_the_flag_never_waits_for_near_certainty():
    assert choose_threshold(np.array([0.97, 0.99]), np.array([True, True])) == 0.9


def test_a_share_that_is_rounded_down_still_flags_the_cell_it_came_from():
    probability = np.array([0.1239, 0.4])
    assert (probability >= choose_threshold(probability, np.array([True, True]), target=1.0)).all()
