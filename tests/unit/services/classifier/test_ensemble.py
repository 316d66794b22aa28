"""Answers of ensembles, whole and in part."""

import asyncio

import numpy as np
import pytest

from hemaserve.errors import DeadlineExceeded, Internal, NotFound, ResourceExhausted, Unavailable
from services.classifier.catalogue import ModelCatalogue
from services.classifier.decision import Thresholds
from services.classifier.ensemble import Networks
from services.triton.pace import PaceLimits, TritonPace

FAILURES = [
    Unavailable("gone"),
    NotFound("not loaded"),
    Internal("broken"),
    DeadlineExceeded("late"),
]


@pytest.fixture
def crops(tagged_crops):
    return tagged_crops(range(5))


@pytest.fixture
async def ensemble(catalogue):
    return await catalogue.get("ensemble")


def names(answer):
    return [member.name for member in answer.members]


async def test_a_single_network_answers_for_itself(networks, catalogue, triton, crops):
    answer = await networks.answer(await catalogue.get("vit"), crops, timeout_s=5)
    np.testing.assert_allclose(answer.probabilities, triton.opinion("vit", crops), rtol=1e-6)
    assert answer.thresholds == Thresholds(identify=0.8, leaf=0.6)
    assert (answer.opinions, answer.members, answer.degraded) == ({}, (), False)


async def test_a_whole_ensemble_carries_the_opinion_of_each_member(networks, ensemble, triton, crops):
    answer = await networks.answer(ensemble, crops, timeout_s=5)
    np.testing.assert_allclose(answer.probabilities, triton.voted(crops), rtol=1e-5)
    for member in ("xception", "vit"):
        np.testing.assert_allclose(answer.opinions[member], triton.opinion(member, crops), rtol=1e-6)
    assert names(answer) == ["xception", "vit"]
    assert answer.thresholds == ensemble.thresholds
    assert not answer.degraded
    assert {model for model, _ in triton.batches} == {"ensemble"}


@pytest.mark.parametrize("failure", FAILURES, ids=lambda error: error.reason)
async def test_when_only_the_ensemble_fails_its_members_vote_alike(
    networks, ensemble, triton, crops, failure
):
    triton.failing["ensemble"] = failure
    answer = await networks.answer(ensemble, crops, timeout_s=5)
    np.testing.assert_allclose(answer.probabilities, triton.voted(crops), rtol=1e-5)
    assert names(answer) == ["xception", "vit"]
    assert answer.thresholds == ensemble.thresholds
    assert not answer.degraded


@pytest.mark.parametrize("failure", FAILURES, ids=lambda error: error.reason)
@pytest.mark.parametrize(("lost", "left"), [("xception", "vit"), ("vit", "xception")])
async def test_a_member_left_alone_answers_by_its_own_thresholds_and_says_so(
    networks, catalogue, ensemble, triton, crops, failure, lost, left
):
    triton.failing |= {"ensemble": failure, lost: failure}
    answer = await networks.answer(ensemble, crops, timeout_s=5)
    np.testing.assert_allclose(answer.probabilities, triton.opinion(left, crops), rtol=1e-6)
    assert names(answer) == list(answer.opinions) == [left]
    assert answer.thresholds == (await catalogue.get(left)).thresholds
    assert answer.degraded


async def test_a_late_member_is_left_out_in_time(networks, ensemble, triton, crops):
    # The fake keeps silent for an hour, so it is the client's timeout that ends the call, as it does in Triton.
    real_infer = triton.infer

    async def infer(*args, timeout_s, **more):
        try:
            return await asyncio.wait_for(real_infer(*args, timeout_s=timeout_s, **more), timeout_s)
        except TimeoutError:
            raise DeadlineExceeded("late") from None

    triton.infer = infer
    triton.late |= {"ensemble", "vit"}
    async with asyncio.timeout(1.0):
        answer = await networks.answer(ensemble, crops, timeout_s=1.0)
    assert names(answer) == ["xception"]
    assert answer.degraded


async def test_a_member_that_answers_nonsense_is_left_out(networks, ensemble, triton, crops):
    triton.spoilt |= {"ensemble": np.full((1, 11), np.nan, np.float32), "vit": np.zeros((1, 11), np.float32)}
    answer = await networks.answer(ensemble, crops, timeout_s=5)
    assert names(answer) == ["xception"]
    assert answer.degraded


async def test_a_single_network_that_answers_nonsense_is_an_internal_error(
    networks, catalogue, triton, crops
):
    triton.spoilt["vit"] = np.full((1, 11), np.nan, np.float32)
    with pytest.raises(Internal):
        await networks.answer(await catalogue.get("vit"), crops, timeout_s=5)


async def test_when_every_member_fails_it_is_unavailable(networks, ensemble, triton, crops):
    triton.failing |= dict.fromkeys(["ensemble", "xception", "vit"], Internal("broken"))
    with pytest.raises(Unavailable):
        await networks.answer(ensemble, crops, timeout_s=5)


async def test_a_full_queue_is_not_made_fuller_by_asking_the_members(networks, ensemble, triton, crops):
    triton.failing["ensemble"] = ResourceExhausted("full")
    with pytest.raises(ResourceExhausted):
        await networks.answer(ensemble, crops, timeout_s=5)
    assert {model for model, _ in triton.batches} == {"ensemble"}


async def test_a_vote_that_nobody_calibrated_is_degraded_and_commits_itself_as_its_strictest_member(
    networks, catalogue, triton, crops
):
    triton.unload("ensemble")
    answer = await networks.answer(await catalogue.get(""), crops, timeout_s=5)
    np.testing.assert_allclose(answer.probabilities, triton.voted(crops, temperature=1.0), rtol=1e-5)
    assert names(answer) == ["xception", "vit"]
    assert answer.thresholds.identify == 0.8
    assert answer.degraded
    assert {model for model, _ in triton.batches} == {"xception", "vit"}


async def test_an_ensemble_that_comes_back_is_whole_again(triton, crops):
    triton_of_old = triton.descriptions["ensemble"]
    triton.unload("ensemble")
    catalogue = ModelCatalogue(triton, default="ensemble", default_members=("xception", "vit"))
    networks = Networks(TritonPace(triton, PaceLimits(1000, 8)), catalogue)
    assert (await networks.answer(await catalogue.get(""), crops, timeout_s=5)).degraded
    with pytest.raises(Unavailable):
        await catalogue.check()
    triton.descriptions["ensemble"] = triton_of_old
    assert not (await networks.answer(await catalogue.get(""), crops, timeout_s=5)).degraded


async def test_a_network_that_went_away_is_unavailable_and_then_not_found(networks, catalogue, triton, crops):
    model = await catalogue.get("vit")
    triton.unload("vit")
    with pytest.raises(Unavailable):
        await networks.answer(model, crops, timeout_s=5)
    with pytest.raises(NotFound):
        await catalogue.get("vit")


async def test_cancelling_cancels_every_inference(networks, ensemble, triton, tagged_crops):
    triton.late.add("ensemble")
    asking = asyncio.ensure_future(networks.answer(ensemble, tagged_crops(range(20)), timeout_s=5))
    while len(triton.batches) < 3:  # noqa: ASYNC110 - the fake signals nothing
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert triton.cancelled == ["ensemble"] * 3


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 16, 17, 100])
async def test_many_crops_go_in_batches_of_the_models_size(networks, ensemble, triton, tagged_crops, count):
    crops = tagged_crops(range(count))
    answer = await networks.answer(ensemble, crops, timeout_s=5)
    assert answer.probabilities.shape == (count, 11)
    np.testing.assert_allclose(answer.probabilities, triton.voted(crops), rtol=1e-5)
    assert [rows for _, rows in triton.batches] == [8] * (count // 8) + [count % 8] * (count % 8 > 0)
