"""The tree of types is sound, its LOINC codes are well formed, and names that people use are understood."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemaserve.cells import (
    FACTS,
    LEAF_TYPES,
    PRIMARY_TYPES,
    CellType,
    Kind,
    belongs_to,
    parse_cell_type,
    primary_of,
    roll_up_matrix,
)


class TestTree:
    def test_every_type_has_facts_and_a_title_of_its_own(self):
        assert set(FACTS) == set(CellType)
        assert len({facts.title for facts in FACTS.values()}) == len(FACTS)

    @pytest.mark.parametrize("cell_type", CellType)
    def test_it_is_two_levels_deep(self, cell_type):
        assert FACTS[primary_of(cell_type)].parent is None
        assert primary_of(primary_of(cell_type)) is primary_of(cell_type)
        assert belongs_to(cell_type, cell_type)
        assert belongs_to(cell_type, primary_of(cell_type))

    @pytest.mark.parametrize("cell_type", CellType)
    def test_a_leaf_is_a_leukocyte_exactly_when_its_parent_is(self, cell_type):
        assert FACTS[cell_type].leukocyte is FACTS[primary_of(cell_type)].leukocyte

    def test_the_primary_types_are_at_the_top_and_the_leaves_at_the_bottom(self):
        assert all(FACTS[cell_type].parent is None for cell_type in PRIMARY_TYPES)
        parents = {facts.parent for facts in FACTS.values() if facts.parent in PRIMARY_TYPES}
        with_drawn_leaves = {FACTS[leaf].parent for leaf in LEAF_TYPES} - {None}
        assert not with_drawn_leaves & set(LEAF_TYPES)
        assert with_drawn_leaves <= parents

    def test_every_leaf_rolls_up_to_exactly_one_primary_type(self):
        matrix = roll_up_matrix(LEAF_TYPES, PRIMARY_TYPES)
        assert matrix.shape == (11, 8)
        assert (matrix.sum(axis=1) == 1).all()
        assert (matrix.sum(axis=0) >= 1).all()

    @given(st.lists(st.floats(0, 1), min_size=11, max_size=11).filter(lambda weights: sum(weights) > 0.1))
    def test_rolling_up_keeps_the_sum_of_probabilities(self, weights):
        leaves = np.array(weights, np.float32) / np.float32(sum(weights))
        parents = leaves @ roll_up_matrix(LEAF_TYPES, PRIMARY_TYPES)
        assert parents.sum() == pytest.approx(1, abs=1e-5)
        neutrophil = leaves[LEAF_TYPES.index(CellType.NEUTROPHIL_BAND)]
        neutrophil += leaves[LEAF_TYPES.index(CellType.NEUTROPHIL_SEGMENTED)]
        assert parents[PRIMARY_TYPES.index(CellType.NEUTROPHIL)] == pytest.approx(neutrophil, abs=1e-6)

    def test_the_detectors_scores_come_in_this_order(self):
        assert tuple(Kind) == (Kind.WBC, Kind.RBC, Kind.PLATELET)


class TestLoinc:
    CODED = tuple((cell_type, facts) for cell_type, facts in FACTS.items() if facts.loinc)

    @pytest.mark.parametrize(("cell_type", "facts"), CODED)
    def test_the_check_digit_is_right(self, cell_type, facts):
        """LOINC's check digit is Luhn's (mod 10)."""
        number, check = facts.loinc.split("-")
        digits = [int(digit) for digit in reversed(number)]
        total = sum(sum(divmod(2 * d, 10)) if i % 2 == 0 else d for i, d in enumerate(digits))
        assert (10 - total % 10) % 10 == int(check)

    def test_codes_are_used_once_and_have_names(self):
        codes = [facts.loinc for _, facts in self.CODED]
        assert len(set(codes)) == len(codes)
        assert all(
            "/Leukocytes" in facts.loinc_name and "Blood" in facts.loinc_name for _, facts in self.CODED
        )

    def test_every_share_that_is_always_reported_has_one(self):
        reported = {cell_type for cell_type in PRIMARY_TYPES if cell_type is not CellType.PLATELET}
        assert reported <= {cell_type for cell_type, _ in self.CODED}


class TestNames:
    @pytest.mark.parametrize("cell_type", CellType)
    def test_values_and_titles_and_their_plurals_are_understood(self, cell_type):
        spoken = cell_type.value.replace("_", " ")
        for text in (cell_type.value, cell_type.value.upper(), spoken.title(), f"{spoken}s", f" {spoken}-"):
            assert parse_cell_type(text) is cell_type

    @pytest.mark.parametrize(
        ("text", "cell_type"),
        [
            ("NEUTROPHIL", CellType.NEUTROPHIL),
            ("ig", CellType.IMMATURE_GRANULOCYTE),
            ("immature_granulocyte", CellType.IMMATURE_GRANULOCYTE),
            ("BNE", CellType.NEUTROPHIL_BAND),
            ("SNE", CellType.NEUTROPHIL_SEGMENTED),
            ("Segs", CellType.NEUTROPHIL_SEGMENTED),
            ("PMY", CellType.PROMYELOCYTE),
            ("MY", CellType.MYELOCYTE),
            ("MMY", CellType.METAMYELOCYTE),
            ("ERB", CellType.ERYTHROBLAST),
            ("nRBCs", CellType.ERYTHROBLAST),
            ("Artifact", CellType.ARTEFACT),
        ],
    )
    def test_what_data_sets_and_laboratories_write_is_understood(self, text, cell_type):
        assert parse_cell_type(text) is cell_type

    @pytest.mark.parametrize("text", ["", "cat", "___", "neutro phil lymph", "s"])
    def test_anything_else_is_refused_with_what_is_known(self, text):
        with pytest.raises(ValueError, match=r"known: neutrophil, .*artefact"):
            parse_cell_type(text)

    @given(st.text(max_size=200).filter(lambda text: not re.search(r"[a-z]", text.casefold())))
    def test_text_without_letters_is_no_type_and_the_answer_stays_short(self, text):
        with pytest.raises(ValueError, match="unknown cell type") as caught:
            parse_cell_type(text)
        assert len(str(caught.value)) < 900
