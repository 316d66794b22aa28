"""What a detector is trained on."""

import pytest
import yaml

from training import detector
from training.detector import DetectorRecipe

_SIZES = {"bccd": (640, 480), "augmented": (416, 416), "pbc": (360, 363), "raabin": (575, 575)}


@pytest.fixture
def fields(place, save_image):
    for split in ("train", "val"):
        for name, size in _SIZES.items():
            save_image(f"smear_fields/images/{split}/{name}.png", *size)
            labels = place.data / "smear_fields" / "labels" / split / f"{name}.txt"
            labels.parent.mkdir(parents=True, exist_ok=True)
            labels.write_text("0 0.5 0.5 0.2 0.2\n")


def _recipe(**changes) -> DetectorRecipe:
    return DetectorRecipe(
        name="test",
        title="Test",
        architecture="yolov8n.yaml",
        start="none",
        epochs=1,
        close_mosaic=0,
        **changes,
    )


def _shown(recipe: DetectorRecipe) -> dict[str, set[str]]:
    description = yaml.safe_load(detector._dataset_yaml(recipe).read_text())
    root = recipe.folder / "dataset"
    assert description["path"] == str(root)
    for split in ("train", "val"):
        images = {path.stem for path in (root / description[split]).iterdir()}
        labels = {path.stem for path in (root / "labels" / split).iterdir()}
        assert images == labels
    return {
        split: {path.stem for path in (root / description[split]).iterdir()} for split in ("train", "val")
    }


def test_a_detector_sees_all_fields_on_the_side_that_they_are_on(fields):
    assert _shown(_recipe()) == {"train": set(_SIZES), "val": set(_SIZES)}


def test_a_laboratory_that_is_left_out_is_left_out_with_its_transformed_copies(fields):
    shown = _shown(_recipe(without=frozenset({"bccd"})))
    assert shown == {"train": {"pbc", "raabin"}, "val": {"pbc", "raabin"}}


def test_the_recipe_that_never_saw_bccd_says_so():
    assert "bccd" in detector.RECIPES["yolov8n-without-bccd"].without
    assert not detector.RECIPES["yolov8n-without-bccd"].tiles


def test_a_recipe_starts_from_a_file_from_another_recipe_or_from_nothing():
    for recipe in detector.RECIPES.values():
        assert recipe.start in {*detector.RECIPES, ""} or recipe.start.endswith(".pt")
        assert recipe.close_mosaic < recipe.epochs
