"""Synthetic fields repeat exactly, and say the truth about what is in them."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemaserve.cells import FACTS, LEAF_TYPES, CellType, Kind
from hemaserve.geometry import as_array, iou_matrix
from hemaserve.imaging import decode
from hemaserve.synthetic import DRAWN_TYPES, STAINS, encode_jpeg, encode_png, generate_field

WHITE_TYPES = [cell_type for cell_type in DRAWN_TYPES if cell_type is not CellType.PLATELET]

small = {"width": 240, "height": 200, "red_cell_px": 24.0}


class TestRepeating:
    @given(st.integers(0, 2**63))
    @settings(max_examples=10, deadline=None)
    def test_a_seed_gives_the_same_field_again(self, seed):
        first, second = generate_field(seed, **small), generate_field(seed, **small)
        assert np.array_equal(first.image, second.image)
        assert first.cells == second.cells
        assert first.seed == seed

    def test_another_seed_gives_another_field(self):
        assert not np.array_equal(generate_field(1, **small).image, generate_field(2, **small).image)

    def test_the_caption_changes_its_corner_and_nothing_else(self):
        plain, captioned = generate_field(3, **small), generate_field(3, **small, caption=True)
        rows, columns = np.nonzero((plain.image != captioned.image).any(axis=2))
        assert rows.size
        assert rows.min() > 200 - 30
        assert columns.max() < 90
        assert plain.cells == captioned.cells


class TestTruth:
    @given(st.integers(0, 10_000), st.integers(0, 4), st.integers(0, 4), st.integers(0, 20))
    @settings(max_examples=25, deadline=None)
    def test_boxes_lie_in_the_field_and_white_cells_and_platelets_are_all_there(
        self, seed, white, platelets, red
    ):
        field = generate_field(seed, white_cells=white, platelets=platelets, red_cells=red, **small)
        kinds = Counter(cell.kind for cell in field.cells)
        assert (kinds[Kind.WBC], kinds[Kind.PLATELET]) == (white, platelets)
        assert kinds[Kind.RBC] <= red
        for cell in field.cells:
            assert 0 <= cell.box.x0 < cell.box.x1 <= 240
            assert 0 <= cell.box.y0 < cell.box.y1 <= 200
            if cell.kind is Kind.RBC:
                assert cell.cell_type is None
            elif cell.kind is Kind.PLATELET:
                assert cell.cell_type is CellType.PLATELET

    @pytest.mark.parametrize("cell_type", WHITE_TYPES)
    def test_the_box_is_tight_around_what_was_drawn(self, cell_type):
        field = generate_field(12, white_cells=[cell_type], platelets=0, red_cells=0)
        (cell,) = field.cells
        assert (cell.kind, cell.cell_type) == (Kind.WBC, cell_type)
        # The light is uneven, so the cell is compared with the slide right around it.
        left, top = max(0, int(cell.box.x0) - 20), max(0, int(cell.box.y0) - 20)
        around = field.image[top : int(cell.box.y1) + 20, left : int(cell.box.x1) + 20].astype(int)
        y, x = np.mgrid[top : top + around.shape[0], left : left + around.shape[1]]
        outside = (
            (x < cell.box.x0 - 5) | (x > cell.box.x1 + 5) | (y < cell.box.y0 - 5) | (y > cell.box.y1 + 5)
        )
        slide = np.median(around[outside], axis=0)
        stained = np.abs(around - slide).max(axis=2) > 20
        seen = (x[stained].min(), y[stained].min(), x[stained].max() + 1, y[stained].max() + 1)
        assert seen == pytest.approx((cell.box.x0, cell.box.y0, cell.box.x1, cell.box.y1), abs=3)

    def test_the_types_asked_for_are_the_types_drawn(self):
        wanted = [CellType.MONOCYTE, CellType.LYMPHOCYTE, CellType.BASOPHIL, CellType.LYMPHOCYTE]
        field = generate_field(6, white_cells=wanted)
        drawn = [cell.cell_type for cell in field.cells if cell.kind is Kind.WBC]
        assert Counter(drawn) == Counter(wanted)

    def test_white_cells_and_platelets_keep_apart(self):
        for seed in range(4):
            field = generate_field(seed, white_cells=4, platelets=4)
            apart = as_array([cell.box for cell in field.cells if cell.kind is not Kind.RBC])
            overlaps = iou_matrix(apart, apart) - np.eye(len(apart))
            assert overlaps.max() < 0.1

    def test_a_number_of_white_cells_gives_the_usual_ones(self):
        found = Counter(
            cell.cell_type
            for seed in range(12)
            for cell in generate_field(
                seed, white_cells=10, red_cells=0, width=400, height=400, red_cell_px=24
            ).cells
            if cell.kind is Kind.WBC
        )
        assert all(FACTS[cell_type].leukocyte for cell_type in found)
        assert found[CellType.NEUTROPHIL_SEGMENTED] > found[CellType.LYMPHOCYTE] > found[CellType.BASOPHIL]

    def test_all_leaves_that_networks_answer_can_be_drawn(self):
        assert set(LEAF_TYPES) <= set(DRAWN_TYPES)


class TestAppearance:
    @pytest.mark.parametrize("stain", STAINS)
    def test_a_stain_colours_the_field(self, stain):
        field = generate_field(7, stain=stain, **small)
        brightest = np.percentile(field.image.reshape(-1, 3), 70, axis=0)
        assert brightest == pytest.approx(STAINS[stain].background, abs=25)

    def test_cells_scale_with_the_red_cells(self):
        def white_width(red_cell_px: float) -> float:
            field = generate_field(8, white_cells=[CellType.LYMPHOCYTE], red_cell_px=red_cell_px)
            return next(cell.box.width for cell in field.cells if cell.kind is Kind.WBC)

        assert white_width(80) == pytest.approx(2 * white_width(40), rel=0.15)

    @pytest.mark.parametrize("size", [(64, 48), (49, 301), (1600, 1200)])
    def test_any_size_can_be_drawn(self, size):
        width, height = size
        field = generate_field(
            9, width=width, height=height, white_cells=1, platelets=0, red_cells=40, red_cell_px=10
        )
        assert field.image.shape == (height, width, 3)
        assert field.image.dtype == np.uint8


class TestRefusals:
    @pytest.mark.parametrize(
        "arguments",
        [
            {"stain": "ink"},
            {"white_cells": [CellType.BLAST]},
            {"white_cells": [CellType.PLATELET]},
            {"white_cells": 40},
            {"width": 60, "height": 60},
            {"platelets": 80, "width": 200, "height": 160},
        ],
    )
    def test_what_cannot_be_drawn_is_said(self, arguments):
        with pytest.raises(ValueError, match=r"unknown stain|cannot be drawn|do not fit"):
            generate_field(0, **arguments)


class TestFiles:
    def test_a_png_is_exact_and_a_jpeg_nearly(self):
        image = generate_field(10, **small).image
        assert np.array_equal(decode(encode_png(image)), image)
        assert np.abs(decode(encode_jpeg(image)).astype(int) - image).mean() < 3
