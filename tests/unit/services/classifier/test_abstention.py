"""Out-of-distribution scores, disagreement, and calibration for whoever of an ensemble answers."""

import numpy as np
import pytest

from hemaserve.cells import LEAF_TYPES, PRIMARY_TYPES, UnidentifiedReason, roll_up_matrix
from hemaserve.errors import Internal
from hemaserve.v1 import cells_pb2, classifier_pb2
from hemaserve.voting import disagreement
from services.classifier import translate
from services.classifier.classifier import ClassifiedCrops, NamedCell
from services.classifier.decision import Decision, Thresholds, decide
from services.classifier.ensemble import Answer

MEMBERS = ("efficientnet", "xception", "vit")
TREE = roll_up_matrix(LEAF_TYPES, PRIMARY_TYPES)


@pytest.fixture
def crops(tagged_crops):
    return tagged_crops(range(11))


@pytest.fixture
async def ensemble(scoring_catalogue):
    return await scoring_catalogue.get("ensemble")


def expect_vote(answer: Answer, triton, crops, members, temperature) -> None:
    np.testing.assert_allclose(answer.probabilities, triton.voted(crops, temperature, members), rtol=1e-5)
    scores = np.mean([triton.ood_score(member, crops) for member in members], axis=0)[:, 0]
    assert answer.ood_scores is not None
    np.testing.assert_allclose(answer.ood_scores, scores, rtol=1e-6)
    assert answer.ood_scores.dtype == np.float32
    assert list(answer.opinions) == list(members)


async def test_a_single_network_says_how_strange_a_crop_is(
    scoring_networks, scoring_catalogue, scoring_triton, crops
):
    answer = await scoring_networks.answer(await scoring_catalogue.get("vit"), crops, timeout_s=5)
    np.testing.assert_array_equal(answer.ood_scores, scoring_triton.ood_score("vit", crops)[:, 0])
    assert answer.thresholds == Thresholds(identify=0.8, leaf=0.6, ood_limit=1.5)
    assert answer.disagreements is None


async def test_a_network_without_scores_goes_on_working(networks, catalogue, crops):
    answer = await networks.answer(await catalogue.get("ensemble"), crops, timeout_s=5)
    assert answer.ood_scores is None
    assert answer.thresholds.ood_limit is None
    assert answer.disagreements is not None


async def test_a_whole_ensemble_gives_its_score_and_how_far_its_members_are_apart(
    scoring_networks, ensemble, scoring_triton, crops
):
    answer = await scoring_networks.answer(ensemble, crops, timeout_s=5)
    expect_vote(answer, scoring_triton, crops, MEMBERS, temperature=2.3)
    assert answer.thresholds == Thresholds(0.73, 0.6, ood_limit=1.15, disagreement_limit=0.46)
    opinions = [scoring_triton.opinion(member, crops) for member in MEMBERS]
    np.testing.assert_allclose(answer.disagreements, disagreement(opinions, TREE), rtol=1e-5)
    assert {model for model, _ in scoring_triton.batches} == {"ensemble"}


async def test_members_that_answer_for_their_ensemble_answer_as_it_would(
    scoring_networks, ensemble, scoring_triton, crops
):
    whole = await scoring_networks.answer(ensemble, crops, timeout_s=5)
    scoring_triton.failing["ensemble"] = Internal("broken")
    answer = await scoring_networks.answer(ensemble, crops, timeout_s=5)
    expect_vote(answer, scoring_triton, crops, MEMBERS, temperature=2.3)
    assert answer.thresholds == whole.thresholds
    np.testing.assert_allclose(answer.disagreements, whole.disagreements, rtol=1e-5)
    assert not answer.degraded


@pytest.mark.parametrize(
    ("lost", "left", "temperature", "thresholds"),
    [
        (["vit"], ("efficientnet", "xception"), 2.0, Thresholds(0.7, 0.6, 1.0, 0.4)),
        (["xception"], ("efficientnet", "vit"), 1.5, Thresholds(0.65, 0.6, 0.75, 0.3)),
        (["efficientnet"], ("xception", "vit"), 1.1, Thresholds(0.61, 0.6, 0.55, 0.22)),
        (["efficientnet", "vit"], ("xception",), 0.8, Thresholds(0.58, 0.6, 0.4, 0.16)),
    ],
)
async def test_who_is_left_votes_with_a_calibration_of_their_own(
    scoring_networks, ensemble, scoring_triton, crops, lost, left, temperature, thresholds
):
    scoring_triton.failing |= dict.fromkeys(["ensemble", *lost], Internal("broken"))
    answer = await scoring_networks.answer(ensemble, crops, timeout_s=5)
    expect_vote(answer, scoring_triton, crops, left, temperature)
    assert answer.thresholds == thresholds
    assert answer.degraded
    assert (answer.disagreements is None) == (len(left) == 1)


async def test_the_vote_tells_the_calibration_of_an_ensemble_that_triton_could_not_load(
    scoring_networks, scoring_catalogue, scoring_triton, crops
):
    scoring_triton.unload("ensemble", "efficientnet")
    answer = await scoring_networks.answer(await scoring_catalogue.get(""), crops, timeout_s=5)
    expect_vote(answer, scoring_triton, crops, ("xception", "vit"), temperature=1.1)
    assert answer.thresholds == Thresholds(0.61, 0.6, 0.55, 0.22)
    assert answer.degraded


async def test_without_any_calibration_the_members_least_limit_holds(
    scoring_networks, scoring_catalogue, scoring_triton, crops
):
    scoring_triton.unload("ensemble", "vote")
    answer = await scoring_networks.answer(await scoring_catalogue.get(""), crops, timeout_s=5)
    expect_vote(answer, scoring_triton, crops, MEMBERS, temperature=1.0)
    assert answer.thresholds == Thresholds(identify=0.8, leaf=0.6, ood_limit=1.5)
    assert answer.degraded


async def test_no_limit_is_claimed_where_a_member_gives_no_score(
    scoring_networks, scoring_catalogue, scoring_triton, crops
):
    scoring_triton.unload("ensemble", "vote")
    scoring_triton.descriptions["vit"] = scoring_triton.describe("vit")
    answer = await scoring_networks.answer(await scoring_catalogue.get(""), crops, timeout_s=5)
    assert (answer.ood_scores, answer.thresholds.ood_limit) == (None, None)


async def test_an_ensemble_that_scores_needs_members_that_do(scoring_catalogue, scoring_triton):
    scoring_triton.descriptions["vit"] = scoring_triton.describe("vit")
    assert not (await scoring_catalogue.get("")).loaded


@pytest.mark.parametrize("score", [np.nan, np.inf, -np.inf])
async def test_a_score_that_is_no_number_is_an_internal_error(
    scoring_networks, scoring_catalogue, scoring_triton, crops, score
):
    scoring_triton.spoilt_scores["vit"] = score
    with pytest.raises(Internal):
        await scoring_networks.answer(await scoring_catalogue.get("vit"), crops, timeout_s=5)


async def test_a_member_whose_score_is_no_number_is_left_out(
    scoring_networks, ensemble, scoring_triton, crops
):
    scoring_triton.spoilt_scores |= {"ensemble": np.nan, "vit": np.nan}
    answer = await scoring_networks.answer(ensemble, crops, timeout_s=5)
    assert list(answer.opinions) == ["efficientnet", "xception"]


@pytest.mark.parametrize("count", [0, 1, 8, 9, 20])
async def test_scores_come_back_to_their_crops_whatever_their_number(
    scoring_networks, ensemble, scoring_triton, tagged_crops, count
):
    crops = tagged_crops(range(count))
    answer = await scoring_networks.answer(ensemble, crops, timeout_s=5)
    expect_vote(answer, scoring_triton, crops, MEMBERS, temperature=2.3)
    assert answer.disagreements.shape == (count,)


async def test_a_response_says_why_each_cell_is_unidentified_and_by_which_limits(
    scoring_networks, ensemble, crops
):
    answer = await scoring_networks.answer(ensemble, crops, timeout_s=5)
    decisions = decide(
        answer.probabilities,
        LEAF_TYPES,
        answer.thresholds,
        ood_scores=answer.ood_scores,
        disagreements=answer.disagreements,
    )
    response = respond(answer, decisions)
    assert response.provenance.ood_limit == pytest.approx(1.15)
    assert response.provenance.disagreement_limit == pytest.approx(0.46)
    for row, (cell, decision) in enumerate(zip(response.cells, decisions, strict=True)):
        said = cell.classification
        assert said.ood_score == answer.ood_scores[row]
        assert said.disagreement == answer.disagreements[row]
        assert said.identified == (not said.unidentified_reasons) == decision.identified
        strange = cells_pb2.UNIDENTIFIED_REASON_OUT_OF_DISTRIBUTION in said.unidentified_reasons
        assert strange == (said.ood_score > np.float32(1.15))
    assert {reason for decision in decisions for reason in decision.reasons} >= {
        UnidentifiedReason.LOW_PROBABILITY,
        UnidentifiedReason.OUT_OF_DISTRIBUTION,
    }


async def test_a_response_makes_up_no_score_and_no_limit(networks, catalogue, crops):
    answer = await networks.answer(await catalogue.get("vit"), crops, timeout_s=5)
    response = respond(answer, decide(answer.probabilities, LEAF_TYPES, answer.thresholds))
    for field in ("ood_limit", "disagreement_limit"):
        assert not response.provenance.HasField(field)
    for field in ("ood_score", "disagreement"):
        assert not response.cells[0].classification.HasField(field)


def respond(answer: Answer, decisions: list[Decision]) -> classifier_pb2.ClassifyResponse:
    response = classifier_pb2.ClassifyResponse(cells=[classifier_pb2.ClassifiedCell() for _ in decisions])
    named = [NamedCell(decision, row) for row, decision in enumerate(decisions)]
    translate.fill_in(response, ClassifiedCrops(answer, named))
    return response
