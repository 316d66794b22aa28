"""What an image is taken for, and whether that is right."""

import pytest

from hemaserve.cells import CellType as T
from hemaserve.errors import InvalidArgument
from hemaserve.evaluation.guessing import (
    check_closed_set,
    closed_guess,
    closed_truth,
    leaf_guess,
    open_guess,
    primary_probabilities,
)

# The largest leaf is the lymphocyte; the largest primary type is the neutrophil.
SPLIT = {T.NEUTROPHIL_BAND: 0.3, T.NEUTROPHIL_SEGMENTED: 0.25, T.LYMPHOCYTE: 0.4, T.MYELOCYTE: 0.05}
IMMATURE = {T.MYELOCYTE: 0.5, T.PROMYELOCYTE: 0.3, T.MONOCYTE: 0.2}


def test_a_primary_type_has_the_sum_of_its_leaves():
    assert primary_probabilities(SPLIT) == pytest.approx(
        {T.NEUTROPHIL: 0.55, T.LYMPHOCYTE: 0.4, T.IMMATURE_GRANULOCYTE: 0.05}
    )


def test_the_best_guess_is_the_primary_type_with_the_largest_sum():
    guess = open_guess(SPLIT, T.LYMPHOCYTE, frozenset({T.LYMPHOCYTE}), identified=False)
    assert guess.answer is T.NEUTROPHIL
    assert guess.belief.probability == pytest.approx(0.55)
    assert not guess.right
    assert not guess.identified


@pytest.mark.parametrize(
    ("folder", "folders", "answer"),
    [
        (T.IMMATURE_GRANULOCYTE, {T.IMMATURE_GRANULOCYTE}, T.IMMATURE_GRANULOCYTE),
        (T.MYELOCYTE, {T.MYELOCYTE, T.PROMYELOCYTE}, T.MYELOCYTE),
        (T.PROMYELOCYTE, {T.MYELOCYTE, T.PROMYELOCYTE}, T.MYELOCYTE),
        (T.MONOCYTE, {T.MONOCYTE, T.MYELOCYTE}, T.MYELOCYTE),
        (T.MONOCYTE, {T.MONOCYTE, T.NEUTROPHIL_BAND}, T.IMMATURE_GRANULOCYTE),
        (T.IMMATURE_GRANULOCYTE, {T.IMMATURE_GRANULOCYTE, T.PROMYELOCYTE}, T.IMMATURE_GRANULOCYTE),
    ],
)
def test_a_folder_is_compared_at_its_own_level(folder, folders, answer):
    guess = open_guess(IMMATURE, folder, frozenset(folders), identified=True)
    assert guess.answer is answer
    assert guess.right is (folder is answer)


def test_calibration_judges_the_primary_type_even_for_leaf_folders():
    guess = open_guess(IMMATURE, T.PROMYELOCYTE, frozenset({T.PROMYELOCYTE}), identified=True)
    assert not guess.right
    assert guess.belief.probability == pytest.approx(0.8)
    assert guess.belief.right


def test_the_leaf_is_the_likeliest_one_of_the_likeliest_primary_type():
    guess = leaf_guess(SPLIT, T.NEUTROPHIL_SEGMENTED)
    assert (guess.answer, guess.in_branch) == (T.NEUTROPHIL_BAND, T.NEUTROPHIL_BAND)


def test_leaves_of_the_right_branch_are_compared_whatever_the_primary_type():
    guess = leaf_guess(SPLIT | {T.PROMYELOCYTE: 0.01}, T.MYELOCYTE)
    assert (guess.answer, guess.in_branch) == (T.NEUTROPHIL_BAND, T.MYELOCYTE)


@pytest.mark.parametrize("coarse", [T.NEUTROPHIL, T.IMMATURE_GRANULOCYTE, T.BLAST])
def test_what_the_network_does_not_answer_is_no_leaf(coarse):
    assert leaf_guess(SPLIT, coarse) is None


def test_a_closed_set_chooses_among_its_types_only():
    guess = closed_guess(SPLIT, T.LYMPHOCYTE, [T.LYMPHOCYTE, T.MONOCYTE], identified=True)
    assert guess.right
    assert guess.belief.probability == pytest.approx(1.0)
    guess = closed_guess(SPLIT, T.NEUTROPHIL, [T.NEUTROPHIL, T.LYMPHOCYTE], identified=True)
    assert guess.right
    assert guess.belief.probability == pytest.approx(0.55 / 0.95)


def test_a_closed_set_of_which_the_network_knows_nothing_is_answered_without_conviction():
    guess = closed_guess({T.LYMPHOCYTE: 1.0}, T.BLAST, [T.SMUDGE, T.BLAST], identified=True)
    assert guess.belief.probability == 0
    assert not guess.right


def test_folders_roll_up_to_the_types_of_a_closed_set():
    types = [T.IMMATURE_GRANULOCYTE, T.NEUTROPHIL_BAND, T.MONOCYTE]
    assert closed_truth(T.MYELOCYTE, types) is T.IMMATURE_GRANULOCYTE
    assert closed_truth(T.NEUTROPHIL_BAND, types) is T.NEUTROPHIL_BAND
    assert closed_truth(T.NEUTROPHIL, types) is None


@pytest.mark.parametrize(
    "types", [[T.MONOCYTE], [T.MONOCYTE, T.MONOCYTE], [T.NEUTROPHIL, T.NEUTROPHIL_BAND], []]
)
def test_a_closed_set_needs_two_types_none_part_of_another(types):
    with pytest.raises(InvalidArgument, match="--types"):
        check_closed_set(types)


def test_a_closed_set_takes_siblings():
    assert check_closed_set([T.MYELOCYTE, T.PROMYELOCYTE, T.MYELOCYTE]) == (T.MYELOCYTE, T.PROMYELOCYTE)
