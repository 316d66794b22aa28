"""Mooney's set, split by original and at random."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemaserve.cells import LEAF_TYPES, CellType
from training.mooney import HELD_OUT_SHARE, VALIDATION_SHARE, Side, Split, mooney_task, sides, write_folders
from training.sources import LabelledMooneyField, mooney_fields

_TYPES = (CellType.EOSINOPHIL, CellType.LYMPHOCYTE, CellType.MONOCYTE, CellType.NEUTROPHIL)


def _fields(originals: int, copies: int) -> list[LabelledMooneyField]:
    # Originals are numbered within a type: the same number in two types is two originals.
    return [
        LabelledMooneyField(Path(f"{cell_type}/{original}_{copy}.png"), cell_type, original)
        for cell_type in _TYPES
        for original in range(originals)
        for copy in range(copies)
    ]


def _some(seed: int) -> list[LabelledMooneyField]:
    """Any number of fields, of any number of originals, in any order."""
    random = np.random.default_rng(seed)
    fields = _fields(int(random.integers(1, 41)), int(random.integers(1, 7)))
    return [fields[i] for i in random.permutation(len(fields))[: random.integers(1, len(fields) + 1)]]


def _sides_of_originals(fields, dealt) -> list[set[str]]:
    found = defaultdict(set)
    for field, side in zip(fields, dealt, strict=True):
        found[field.cell_type, field.original].add(str(side))
    return list(found.values())


@pytest.mark.parametrize("seed", range(25))
def test_split_by_original_whatever_was_made_of_a_field_is_on_its_side(place, seed):
    fields = _some(seed)
    dealt = sides(fields, Split.ORIGINAL)
    assert set(dealt.tolist()) <= set(Side)
    assert all(len(found) == 1 for found in _sides_of_originals(fields, dealt))


def test_split_at_random_most_originals_are_on_both_sides(place):
    fields = _fields(30, 20)
    mixed = [found for found in _sides_of_originals(fields, sides(fields, Split.RANDOM)) if len(found) > 1]
    assert len(mixed) > 0.9 * 30 * len(_TYPES)


@pytest.mark.parametrize("split", Split)
def test_each_type_has_its_share_on_every_side(place, split):
    fields = _fields(50, 10)
    dealt = sides(fields, split)
    for cell_type in _TYPES:
        own = dealt[[field.cell_type is cell_type for field in fields]]
        assert (own == Side.VAL).mean() == pytest.approx(VALIDATION_SHARE)
        assert (own == Side.HELD_OUT).mean() == pytest.approx(HELD_OUT_SHARE)


@pytest.mark.parametrize("split", Split)
def test_the_draw_is_the_same_every_time_and_not_the_files_order(place, split):
    fields = _fields(20, 5)
    dealt = sides(fields, split)
    np.testing.assert_array_equal(sides(fields, split), dealt)
    first = dealt[[field.cell_type is CellType.MONOCYTE for field in fields]]
    assert first.tolist() != sorted(first.tolist(), key=[*Side].index)


@pytest.fixture
def mooney(save_image):
    for label in ("eosinophil", "monocyte"):
        for original in range(10):
            for copy in range(3):
                save_image(f"mooney/train/{label}/{original}_{copy}{original}{label[0]}.png", 32, 24)


@pytest.mark.parametrize("split", Split)
def test_no_field_trains_and_measures(mooney, split):
    task = mooney_task(split)
    lesson, measured = task.load(16), task.validation(16)
    assert task.classes == tuple(LEAF_TYPES)
    assert lesson.others is None
    assert (len(lesson.train) + len(lesson.held_out) + len(measured)) == 60
    assert len(measured) == 12
    assert len(lesson.held_out) == {Split.ORIGINAL: 6, Split.RANDOM: 4}[split]
    assert measured.crops.shape[1:] == (16, 16, 3)


def test_folders_hold_the_validation_side_of_each_split_by_type(mooney, tmp_path):
    root = tmp_path / "written"
    stale = root / "original" / "val" / "monocyte" / "of-an-earlier-seed.png"
    stale.parent.mkdir(parents=True)
    stale.touch()
    write_folders(root)
    fields = mooney_fields("train")
    for split in Split:
        wanted = {
            f"{field.cell_type.value}/{field.path.stem}.png": field.path
            for field, side in zip(fields, sides(fields, split), strict=True)
            if side == Side.VAL
        }
        folder = root / split / "val"
        assert {str(path.relative_to(folder)) for path in folder.glob("*/*")} == set(wanted)
        for name, source in wanted.items():
            with Image.open(folder / name) as written, Image.open(source) as original:
                np.testing.assert_array_equal(np.asarray(written), np.asarray(original))
