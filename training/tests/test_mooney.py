"""Mooney's set, split by original and at random."""

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemaserve.cells import LEAF_TYPES, CellType
from training.mooney import (
    HELD_OUT_SHARE,
    VALIDATION_SHARE,
    Side,
    Split,
    in_sound_groups,
    mooney_task,
    photographs,
    sides,
    write_folders,
)
from training.sources import LabelledMooneyField, mooney_fields

_TYPES = (CellType.EOSINOPHIL, CellType.LYMPHOCYTE, CellType.MONOCYTE, CellType.NEUTROPHIL)


def _fields(photographs: int, copies: int) -> tuple[list[LabelledMooneyField], list[int | None]]:
    """Fields, and what they were made from. Numbers count within a type: one number in two types is two photographs."""
    made = [
        (LabelledMooneyField(Path(f"{cell_type}/{copy}_{photograph}.png"), cell_type), photograph)
        for cell_type in _TYPES
        for photograph in range(photographs)
        for copy in range(copies)
    ]
    return [field for field, _ in made], [photograph for _, photograph in made]


def _some(seed: int) -> tuple[list[LabelledMooneyField], list[int | None]]:
    """Any number of fields, of any number of photographs, in any order; of some it is not known which."""
    random = np.random.default_rng(seed)
    fields, made_from = _fields(int(random.integers(1, 41)), int(random.integers(1, 7)))
    chosen = random.permutation(len(fields))[: random.integers(1, len(fields) + 1)]
    unknown = random.random(len(fields)) < 0.05
    return [fields[i] for i in chosen], [None if unknown[i] else made_from[i] for i in chosen]


def _sides_of_photographs(fields, made_from, dealt) -> list[set[str]]:
    found = defaultdict(set)
    for field, photograph, side in zip(fields, made_from, dealt, strict=True):
        if photograph is not None:
            found[field.cell_type, photograph].add(str(side))
    return list(found.values())


@pytest.mark.parametrize("seed", range(25))
def test_split_by_original_whatever_was_made_of_a_photograph_is_on_its_side(place, seed):
    fields, made_from = _some(seed)
    dealt = sides(fields, Split.ORIGINAL, made_from)
    assert set(dealt.tolist()) <= set(Side)
    assert all(len(found) == 1 for found in _sides_of_photographs(fields, made_from, dealt))
    # Brothers of what cannot be told could be anywhere.
    assert [side == Side.LEFT_OUT for side in dealt] == [photograph is None for photograph in made_from]


def test_split_at_random_most_photographs_are_on_both_sides_and_no_field_is_left_out(place):
    fields, made_from = _fields(30, 20)
    made_from[::7] = [None] * len(made_from[::7])
    dealt = sides(fields, Split.RANDOM, made_from)
    assert Side.LEFT_OUT not in dealt
    mixed = [found for found in _sides_of_photographs(fields, made_from, dealt) if len(found) > 1]
    assert len(mixed) > 0.9 * 30 * len(_TYPES)


@pytest.mark.parametrize("split", Split)
def test_each_type_has_its_share_on_every_side(place, split):
    fields, made_from = _fields(50, 10)
    dealt = sides(fields, split, made_from)
    for cell_type in _TYPES:
        own = dealt[[field.cell_type is cell_type for field in fields]]
        assert (own == Side.VAL).mean() == pytest.approx(VALIDATION_SHARE)
        assert (own == Side.HELD_OUT).mean() == pytest.approx(HELD_OUT_SHARE)


@pytest.mark.parametrize("split", Split)
def test_the_draw_is_the_same_every_time_and_not_the_files_order(place, split):
    fields, made_from = _fields(20, 5)
    dealt = sides(fields, split, made_from)
    np.testing.assert_array_equal(sides(fields, split, made_from), dealt)
    first = dealt[[field.cell_type is CellType.MONOCYTE for field in fields]]
    assert first.tolist() != sorted(first.tolist(), key=[*Side].index)


def test_groups_that_are_much_smaller_than_is_usual_are_no_photographs():
    assert in_sound_groups([5] * 10 + [7] * 20 + [8] * 4 + [9]) == [5] * 10 + [7] * 20 + [None] * 5
    assert in_sound_groups([0, 1, 2]) == [0, 1, 2]


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
    assert len(lesson.held_out) == 4
    assert measured.crops.shape[1:] == (16, 16, 3)


def test_what_photograph_a_field_is_from_is_found_once(mooney, place, monkeypatch):
    fields = mooney_fields("train")
    found = photographs(fields)
    monkeypatch.setattr("training.mooney.same_photograph", lambda _: pytest.fail("looked again"))
    assert photographs(fields) == found
    with pytest.raises(pytest.fail.Exception, match="looked again"):
        photographs(fields[1:])


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
            for field, side in zip(fields, sides(fields, split, photographs(fields)), strict=True)
            if side == Side.VAL
        }
        folder = root / split / "val"
        assert {str(path.relative_to(folder)) for path in folder.glob("*/*")} == set(wanted)
        for name, source in wanted.items():
            with Image.open(folder / name) as written, Image.open(source) as original:
                np.testing.assert_array_equal(np.asarray(written), np.asarray(original))
