"""A burned-in scale bar is gone before a network sees a field, and nothing else is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hemaserve.geometry import Box
from hemaserve.imaging import decode, mask_scale_bar, touches_scale_bar

BACKGROUND = (231, 228, 240)


def a_field(width=224, height=224, seed=0):
    """Dark discs on an even background, fewer than half of its pixels."""
    image = np.full((height, width, 3), BACKGROUND, np.uint8)
    ys, xs = np.mgrid[:height, :width]
    random = np.random.default_rng(seed)
    for _ in range(12):
        x, y = random.uniform(0, width), random.uniform(0, height)
        image[(xs - x) ** 2 + (ys - y) ** 2 < (min(width, height) / 16) ** 2] = (120, 60, 150)
    return image


def with_bar(image):
    """The larger of the leukemia set's two scale bars: a white plate with a black line and label."""
    barred = image.copy()
    barred[-30:, -31:] = 255
    barred[-10:-8, -29:] = 0
    barred[-20:-10, -29:-27] = 0
    barred[-20:-12, -22:-4:4] = 0
    return barred


sides = st.integers(16, 300)


@given(sides, sides, st.integers(0, 5))
def test_only_the_lower_right_corner_changes_and_becomes_one_colour(width, height, seed):
    image = a_field(width, height, seed)
    before = image.copy()
    masked = mask_scale_bar(image)
    np.testing.assert_array_equal(image, before)
    changed = (masked != image).any(axis=2)
    assert not changed[: int(height * 0.83), :].any()
    assert not changed[:, : int(width * 0.83)].any()
    corner = masked[int(np.ceil(height * 0.83)) :, int(np.ceil(width * 0.83)) :].reshape(-1, 3)
    assert len(np.unique(corner, axis=0)) == 1


@pytest.mark.parametrize("size", [(224, 224), (640, 480), (3000, 2000)])
def test_the_corner_gets_the_fields_background(size):
    masked = mask_scale_bar(a_field(*size))
    assert tuple(masked[-1, -1]) == BACKGROUND


def test_a_field_with_a_bar_comes_out_as_one_without():
    image = a_field()
    np.testing.assert_array_equal(mask_scale_bar(with_bar(image)), mask_scale_bar(image))


def test_masking_twice_is_masking_once():
    masked = mask_scale_bar(with_bar(a_field()))
    np.testing.assert_array_equal(mask_scale_bar(masked), masked)


boxes = st.builds(
    lambda x, y, width, height: Box(x, y, x + width, y + height),
    *(st.integers(0, 200),) * 2,
    *(st.integers(1, 60),) * 2,
)


@given(boxes)
def test_a_box_touches_the_bar_when_masking_could_change_a_pixel_of_it(box):
    white = np.zeros((224, 224, 3), np.uint8)
    white[:, :150] = 255
    changed = (mask_scale_bar(white) != white).any(axis=2)
    inside = changed[round(box.y0) : round(box.y1), round(box.x0) : round(box.x1)].any()
    assert touches_scale_bar(box, 224, 224) == inside


def test_no_bar_of_the_leukemia_fields_is_left(data_folder, tmp_path):
    if data_folder is None or not (data_folder / "leukemia").is_dir():
        paths = [tmp_path / "field.png"]
        Image.fromarray(with_bar(a_field())).save(paths[0])
    else:
        paths = sorted((data_folder / "leukemia" / "val").glob("*/*"))
    barred = 0
    for path in paths:
        image = decode(path.read_bytes())
        masked = mask_scale_bar(image)
        barred += _ink(image)
        assert not _ink(masked), path.name
    assert barred > 0.3 * len(paths)


def _ink(image):
    """Whether there is black, which no cell is, in the surroundings of the lower right corner."""
    corner = image[-60:, -70:].astype(int)
    return bool(((corner.max(axis=2) < 70) & (np.ptp(corner, axis=2) < 20)).any())
