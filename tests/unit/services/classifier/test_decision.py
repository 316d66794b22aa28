"""From leaf probabilities to what is said about a cell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hemaserve.cells import LEAF_TYPES, CellType, belongs_to, primary_of
from hemaserve.cells import UnidentifiedReason as Reason
from hemaserve.errors import Internal
from services.classifier.decision import (
    SUM_TOLERANCE,
    Thresholds,
    checked_probabilities,
    checked_scores,
    decide,
)

T = CellType
LEAVES = len(LEAF_TYPES)
THRESHOLDS = Thresholds(identify=0.5, leaf=0.75)


def row(**shares):
    """A row of leaf probabilities; eighths and the like are exact in binary, so that edges are exact."""
    return np.array([[shares.get(leaf.name.lower(), 0.0) for leaf in LEAF_TYPES]], np.float32)


def decide_one(probabilities, thresholds=THRESHOLDS, leaf_types=LEAF_TYPES):
    (decision,) = decide(probabilities, leaf_types, thresholds)
    return decision


distributions = hnp.arrays(
    np.float64, st.tuples(st.integers(0, 12), st.just(LEAVES)), elements=st.floats(0.0, 1.0)
).map(lambda scores: ((scores + 1e-6) / (scores + 1e-6).sum(axis=1, keepdims=True)).astype(np.float32))
thresholds = st.builds(
    Thresholds, identify=st.floats(0, 1, allow_nan=False), leaf=st.floats(0, 1, allow_nan=False)
)


def test_identify_threshold_counts_as_met_when_exactly_met():
    assert decide_one(row(monocyte=0.5, eosinophil=0.25, basophil=0.25)).identified


def test_just_below_the_identify_threshold_is_unidentified_with_its_best_guess():
    just_below = np.nextafter(np.float32(0.5), np.float32(0))
    decision = decide_one(row(monocyte=just_below, eosinophil=0.25, basophil=0.25))
    assert not decision.identified
    assert decision.cell_type is decision.primary_type is T.MONOCYTE


def test_a_decimal_threshold_is_met_by_the_same_decimal_probability():
    assert decide_one(row(monocyte=0.7, eosinophil=0.3), Thresholds(identify=0.7, leaf=0.5)).identified


def test_leaves_of_one_parent_identify_it_together():
    decision = decide_one(row(promyelocyte=0.25, myelocyte=0.25, metamyelocyte=0.125, monocyte=0.375))
    assert decision.identified
    assert decision.primary_type is T.IMMATURE_GRANULOCYTE
    assert decision.probability == 0.625


def test_leaf_threshold_counts_as_met_when_exactly_met():
    decision = decide_one(row(neutrophil_band=0.75, neutrophil_segmented=0.25))
    assert decision.cell_type is T.NEUTROPHIL_BAND
    assert decision.primary_type is T.NEUTROPHIL


def test_a_doubtful_leaf_falls_back_to_its_parent():
    decision = decide_one(row(neutrophil_band=0.625, neutrophil_segmented=0.375))
    assert decision.identified
    assert decision.cell_type is T.NEUTROPHIL


def test_the_leaf_threshold_is_a_share_of_the_parents_probability():
    decision = decide_one(
        row(neutrophil_band=0.375, neutrophil_segmented=0.125, monocyte=0.5 - 0.125), THRESHOLDS
    )
    assert decision.cell_type is T.NEUTROPHIL_BAND


def test_of_equally_probable_types_the_first_wins():
    tied = row(lymphocyte=0.5, monocyte=0.5)
    assert decide_one(tied).primary_type is T.LYMPHOCYTE
    swapped = [T.MONOCYTE, T.LYMPHOCYTE]
    assert decide_one(np.array([[0.5, 0.5]], np.float32), leaf_types=swapped).primary_type is T.MONOCYTE


def test_a_great_leaf_elsewhere_does_not_win_over_the_branch_that_sums_to_more():
    decision = decide_one(row(promyelocyte=0.25, myelocyte=0.25, metamyelocyte=0.0625, monocyte=0.4375))
    assert decision.primary_type is T.IMMATURE_GRANULOCYTE
    assert decision.cell_type is T.IMMATURE_GRANULOCYTE


def test_a_network_may_know_a_parent_and_a_leaf_below_it():
    leaf_types = [T.LYMPHOCYTE, T.REACTIVE_LYMPHOCYTE, T.BLAST]
    decision = decide_one(np.array([[0.375, 0.25, 0.375]], np.float32), leaf_types=leaf_types)
    assert decision.primary_type is T.LYMPHOCYTE
    assert decision.probability == 0.625


def test_no_rows_give_no_decisions():
    assert decide(np.empty((0, LEAVES), np.float32), LEAF_TYPES, THRESHOLDS) == []


@given(distributions, thresholds)
def test_decisions_follow_from_each_row_alone(probabilities, limits):
    decisions = decide(probabilities, LEAF_TYPES, limits)
    assert len(decisions) == len(probabilities)
    for row_, decision in zip(probabilities, decisions, strict=True):
        assert decide(row_[None], LEAF_TYPES, limits) == [decision]
        sums = {
            parent: sum(
                float(p) for p, leaf in zip(row_, LEAF_TYPES, strict=True) if belongs_to(leaf, parent)
            )
            for parent in map(primary_of, LEAF_TYPES)
        }
        assert decision.probability == pytest.approx(max(sums.values()), abs=1e-6)
        assert sums[decision.primary_type] == pytest.approx(max(sums.values()), abs=1e-6)
        assert belongs_to(decision.cell_type, decision.primary_type)
        assert decision.identified == (np.float32(decision.probability) >= np.float32(limits.identify))


@given(distributions, thresholds)
def test_a_reported_leaf_is_the_best_of_its_branch_and_holds_its_share(probabilities, limits):
    for row_, decision in zip(probabilities, decide(probabilities, LEAF_TYPES, limits), strict=True):
        if decision.cell_type in LEAF_TYPES and decision.cell_type is not decision.primary_type:
            own = row_[LEAF_TYPES.index(decision.cell_type)]
            assert own >= limits.leaf * decision.probability - 1e-6
            siblings = [
                row_[i] for i, leaf in enumerate(LEAF_TYPES) if belongs_to(leaf, decision.primary_type)
            ]
            assert own == max(siblings)


SURE = row(monocyte=1.0)
LIMITED = Thresholds(identify=0.5, leaf=0.75, ood_limit=2.1, disagreement_limit=0.3)


def reasons(probabilities=SURE, limits=LIMITED, *, ood_score=None, disagreement=None):
    (decision,) = decide(
        probabilities,
        LEAF_TYPES,
        limits,
        ood_scores=None if ood_score is None else np.array([ood_score], np.float32),
        disagreements=None if disagreement is None else np.array([disagreement], np.float32),
    )
    assert decision.identified == (not decision.reasons)
    return set(decision.reasons)


def test_limits_that_are_exactly_met_are_kept():
    assert reasons(ood_score=2.1, disagreement=0.3) == set()


def test_each_limit_that_is_passed_is_a_reason():
    assert reasons(ood_score=np.nextafter(np.float32(2.1), np.float32(3))) == {Reason.OUT_OF_DISTRIBUTION}
    assert reasons(disagreement=0.31) == {Reason.MEMBERS_DISAGREE}
    unsure = row(monocyte=0.4, basophil=0.3, eosinophil=0.3)
    assert reasons(unsure) == {Reason.LOW_PROBABILITY}
    assert reasons(unsure, ood_score=9, disagreement=1) == set(Reason)


def test_without_a_limit_no_score_is_too_great():
    assert reasons(limits=THRESHOLDS, ood_score=1e9, disagreement=1) == set()


def test_the_types_of_a_strange_cell_are_still_the_best_guess():
    scores = np.array([9], np.float32)
    (decision,) = decide(SURE, LEAF_TYPES, LIMITED, ood_scores=scores)
    assert not decision.identified
    assert decision.cell_type is decision.primary_type is T.MONOCYTE
    assert decision.probability == 1


@given(st.lists(st.floats(-5, 5, width=32), max_size=8))
def test_a_score_speaks_for_its_own_row_alone(scores):
    decisions = decide(
        np.repeat(SURE, len(scores), axis=0), LEAF_TYPES, LIMITED, ood_scores=np.array(scores, np.float32)
    )
    assert [decision.identified for decision in decisions] == [s <= np.float32(2.1) for s in scores]


@pytest.mark.parametrize("spoilt", [np.zeros(2), np.zeros((3, 1)), np.zeros((2, 2)), np.zeros((1, 2))])
def test_scores_of_another_shape_are_an_internal_error(spoilt):
    with pytest.raises(Internal, match="model vit answered"):
        checked_scores(spoilt.astype(np.float32), rows=2, source="vit")


@pytest.mark.parametrize(
    "spoilt",
    [
        np.full((1, LEAVES), np.nan, np.float32),
        np.full((1, LEAVES), np.inf, np.float32),
        np.zeros((1, LEAVES), np.float32),
        np.full((1, LEAVES), 1.0, np.float32),
        row(monocyte=1 - 2 * SUM_TOLERANCE),
        row(monocyte=2.0, lymphocyte=-1.0),
        row(monocyte=1.0, lymphocyte=np.nan),
        np.full((2, LEAVES), 1 / LEAVES, np.float32),
        np.full((1, LEAVES - 1), 1 / (LEAVES - 1), np.float32),
    ],
)
def test_what_is_no_distribution_is_an_internal_error(spoilt):
    with pytest.raises(Internal, match="model vit answered"):
        checked_probabilities(spoilt, rows=1, leaves=LEAVES, source="vit")


def test_one_spoilt_row_spoils_the_batch():
    batch = np.concatenate([row(monocyte=1.0), np.full((1, LEAVES), np.nan, np.float32)])
    with pytest.raises(Internal):
        checked_probabilities(batch, rows=2, leaves=LEAVES, source="vit")


def test_what_rounding_lost_is_made_good():
    checked = checked_probabilities(row(monocyte=0.746, basophil=0.25), rows=1, leaves=LEAVES, source="vit")
    assert checked.dtype == np.float32
    assert checked.sum() == pytest.approx(1, abs=1e-6)
    assert checked[0, LEAF_TYPES.index(T.MONOCYTE)] == pytest.approx(0.746 / 0.996)
