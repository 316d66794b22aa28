"""Pictures of explanations: the map lies over its crop, and the picture says what it is and is not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemaserve.explanation_sheet import ShownCell, explanation_sheet, overlay
from hemaserve.heat_map import scaled


def crop(seed=0, size=96):
    return np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)


def colourful(pixels):
    """How far each pixel is from grey."""
    return np.ptp(pixels.astype(int), axis=-1)


def test_what_is_marked_is_coloured_and_the_rest_is_grey():
    heat = np.zeros((4, 4), np.float32)
    heat[1, 2] = 1
    over = overlay(crop(), heat)
    assert over.shape == (96, 96, 3)
    away = colourful(over)
    assert not away[:12].any()
    assert not away[:, :36].any()
    assert np.unravel_index(away.argmax(), away.shape)[0] in range(24, 48)
    assert np.unravel_index(away.argmax(), away.shape)[1] in range(48, 72)


def test_nothing_marked_is_grey():
    assert not colourful(overlay(crop(), np.zeros((3, 3), np.float32))).any()


@given(st.tuples(st.integers(1, 9), st.integers(1, 9)), st.integers(1, 40), st.floats(0, 1, width=32))
def test_an_even_map_stays_even_at_any_size(grid, size, value):
    found = scaled(np.full(grid, value, np.float32), size, size)
    assert found.shape == (size, size)
    np.testing.assert_allclose(found, value, atol=1e-6)


@given(st.integers(0, 2**32 - 1), st.tuples(st.integers(1, 9), st.integers(1, 9)), st.integers(1, 40))
def test_scaling_stays_between_what_there_is(seed, grid, size):
    values = np.random.default_rng(seed).random(grid).astype(np.float32)
    found = scaled(values, size, size + 1)
    assert found.shape == (size + 1, size)
    assert values.min() - 1e-6 <= found.min() <= found.max() <= values.max() + 1e-6


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("size", [16, 96, 200])
def test_a_sheet_has_room_for_all_cells(count, size):
    cells = [
        ShownCell(f"c{i}  Monocyte 97%", crop(i, size), np.ones((2, 2), np.float32)) for i in range(count)
    ]
    sheet = np.asarray(explanation_sheet(cells))
    one = np.asarray(explanation_sheet(cells[:1]))
    columns, rows = min(count, 3), -(-count // 3)
    assert sheet.shape[1] == columns * one.shape[1]
    assert sheet.shape[0] > rows * 180
    # Below the cells there is text, across the width that it needs.
    assert (sheet[rows * 190 :] < 128).any()


def test_the_title_is_written_behind_the_notice_where_there_is_room():
    cells = [ShownCell("c", crop(), np.ones((2, 2), np.float32))] * 3
    plain, titled = explanation_sheet(cells), explanation_sheet(cells, title="field.png")
    assert plain.size == titled.size
    assert (np.asarray(plain) != np.asarray(titled)).any()
