"""Splits and labels: what may be learned from, and what may not."""

import numpy as np
import pytest

from hemaserve.cells import LEAF_TYPES, PRIMARY_TYPES, CellType
from training import datasets
from training.datasets import calibration_split, leaf_mask, pbc_tiles, primary_index, smear_fields
from training.settings import settings

_TYPES = [CellType.NEUTROPHIL] * 100 + [CellType.PLATELET] * 50 + [CellType.PROMYELOCYTE] * 25


def test_the_calibration_split_takes_its_share_of_every_type(place):
    chosen = calibration_split(_TYPES, share=0.2)
    types = np.array(_TYPES)
    assert {t: int(chosen[types == t].sum()) for t in set(_TYPES)} == {
        CellType.NEUTROPHIL: 20,
        CellType.PLATELET: 10,
        CellType.PROMYELOCYTE: 5,
    }


def test_the_calibration_split_is_the_same_every_time_and_another_with_another_seed(place, monkeypatch):
    first = calibration_split(_TYPES)
    np.testing.assert_array_equal(calibration_split(_TYPES), first)
    monkeypatch.setenv("HEMASERVE_SEED", "7")
    settings.cache_clear()
    assert (calibration_split(_TYPES) != first).any()


def test_tiles_are_labelled_as_finely_as_their_names_tell(place, save_image):
    for name in ("ig/PMY_1.webp", "ig/IG_2.webp", "neutrophil/BNE_3.webp", "neutrophil/NEUTROPHIL_4.webp"):
        save_image(f"pbc/train/{name}")
    tiles = pbc_tiles("train")
    assert {tile.key: tile.cell_type for tile in tiles} == {
        "train/ig/IG_2.webp": CellType.IMMATURE_GRANULOCYTE,
        "train/ig/PMY_1.webp": CellType.PROMYELOCYTE,
        "train/neutrophil/BNE_3.webp": CellType.NEUTROPHIL_BAND,
        "train/neutrophil/NEUTROPHIL_4.webp": CellType.NEUTROPHIL,
    }
    assert [tile.key for tile in tiles] == sorted(tile.key for tile in tiles)


@pytest.mark.parametrize(
    ("size", "source"),
    [
        ((640, 480), "bccd"),
        ((416, 416), "bccd"),
        ((360, 363), "pbc"),
        ((366, 369), "pbc"),
        ((575, 575), "raabin"),
        ((500, 500), "other"),
    ],
)
def test_the_size_of_a_smear_field_tells_its_laboratory(place, save_image, size, source):
    path = save_image("smear_fields/images/val/a.png", *size)
    (field,) = smear_fields("val")
    assert field.source == source
    assert field.path == path
    assert field.labels == place.data / "smear_fields" / "labels" / "val" / "a.txt"


@pytest.mark.parametrize("read", [pbc_tiles, smear_fields])
def test_a_missing_split_is_named_together_with_the_setting(place, read):
    with pytest.raises(FileNotFoundError, match="HEMASERVE_DATA"):
        read("train")


def test_a_parent_label_allows_all_of_its_leaves_and_a_leaf_label_itself():
    mask = leaf_mask([CellType.NEUTROPHIL, CellType.MONOCYTE, CellType.NEUTROPHIL])
    allowed = [[leaf for leaf, ok in zip(LEAF_TYPES, row, strict=True) if ok] for row in mask]
    both = [CellType.NEUTROPHIL_BAND, CellType.NEUTROPHIL_SEGMENTED]
    assert allowed == [both, [CellType.MONOCYTE], both]


def test_the_primary_type_of_a_mask_is_that_of_its_label():
    types = [CellType.METAMYELOCYTE, CellType.NEUTROPHIL, CellType.PLATELET]
    parents = [PRIMARY_TYPES[index] for index in primary_index(leaf_mask(types))]
    assert parents == [CellType.IMMATURE_GRANULOCYTE, CellType.NEUTROPHIL, CellType.PLATELET]


def test_the_roll_up_gives_every_leaf_to_exactly_one_primary_type():
    assert (datasets.roll_up().sum(axis=1) == 1).all()


def test_the_box_that_stands_in_is_the_middle_of_the_tile():
    box = datasets.fallback_box(200)
    assert box.center == (100, 100)
    assert box.width == box.height == pytest.approx(120)
