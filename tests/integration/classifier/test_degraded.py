"""What the classifier says while the real Triton has only a part of the ensemble."""

import asyncio
from pathlib import Path

import grpc
import numpy as np
import pytest
from tritonclient.grpc.aio import InferenceServerClient

from hemaserve.cells import LEAF_TYPES
from hemaserve.v1 import cells_pb2
from hemaserve.voting import vote
from services.classifier.models import Vote, parse_model
from services.triton.client import TritonClient

REPOSITORY = Path(__file__).parents[3] / "model_repository"
LEAVES = len(LEAF_TYPES)
TOLERANCE = 5e-3
NO_HEALTH_CHECKS_S = 60.0
"""Where a test wants the classifier to learn of a loss from an inference, and not from its health check."""


@pytest.fixture(scope="module")
def partial_triton(start_triton):
    """A Triton of this module's own, whose models can be unloaded; it starts with all of the ensemble."""
    with start_triton(REPOSITORY, models=("ensemble",)) as server:
        yield server.grpc_address


@pytest.fixture
async def control(partial_triton, ensemble_members):
    """Loads and unloads models; after the test, all of the ensemble is there again."""
    client = InferenceServerClient(partial_triton)
    yield client
    for name in (*ensemble_members, "vote", "ensemble"):
        await client.load_model(name)
    await client.close()


async def lose(control, *names):
    """Unload models and wait until Triton has let go of them."""
    for name in names:
        await control.unload_model(name)
    async with asyncio.timeout(30):
        while any([await control.is_model_ready(name) for name in names]):  # noqa: ASYNC110 - Triton signals nothing
            await asyncio.sleep(0.02)


def check_degraded(response, members):
    assert all(cell.classification.degraded for cell in response.cells)
    assert [member.name for member in response.provenance.members] == members
    assert response.provenance.classifier == cells_pb2.ModelProvenance(name="ensemble")
    for cell in response.cells:
        assert [member.model for member in cell.classification.members] == members


@pytest.mark.parametrize("noticed_by", ["inference", "start"])
@pytest.mark.parametrize("kept", [0, -1])
async def test_a_member_left_alone_answers_by_its_own_calibration_and_says_so(
    partial_triton, control, classifier_on, cell_crops, row_of, ensemble_members, kept, noticed_by
):
    crops, left = cell_crops[:6], ensemble_members[kept]
    lost = [member for member in ensemble_members if member != left]
    async with TritonClient(partial_triton) as client:
        ensemble = parse_model(await client.model_config("ensemble"))
        alone = parse_model(await client.model_config(left))
    calibrated = ensemble.votes.get((left,), Vote(1.0, alone.thresholds))
    if noticed_by == "start":
        await lose(control, "ensemble", *lost)
    settings = {"health_interval_s": NO_HEALTH_CHECKS_S, "default_members": ensemble_members}
    async with classifier_on(partial_triton, **settings) as caller:
        if noticed_by == "inference":
            (whole,) = await caller.ask(caller.request(crops))
            assert not whole.cells[0].classification.degraded
            await lose(control, "ensemble", *lost)
        (response,) = await caller.ask(caller.request(crops))
    check_degraded(response, [left])
    async with TritonClient(partial_triton) as client:
        own = (await client.infer(left, {"crops": crops}, ["probabilities"]))["probabilities"]
    threshold = calibrated.thresholds.identify
    assert response.provenance.identify_threshold == pytest.approx(threshold)
    for cell, probabilities in zip(response.cells, vote([own], calibrated.temperature), strict=True):
        np.testing.assert_allclose(row_of(cell)[:LEAVES], probabilities, atol=TOLERANCE)
        said = cell.classification
        doubted = cells_pb2.UNIDENTIFIED_REASON_LOW_PROBABILITY in said.unidentified_reasons
        assert doubted == (said.probability < np.float32(threshold))


async def test_without_its_vote_the_members_answer_uncalibrated_and_say_so(
    partial_triton, control, classifier_on, cell_crops, row_of, ensemble_members
):
    await lose(control, "ensemble", "vote")
    async with classifier_on(partial_triton, default_members=ensemble_members) as caller:
        (response,) = await caller.ask(caller.request(cell_crops[:6]))
    check_degraded(response, list(ensemble_members))
    for cell in response.cells:
        voted, *members = np.split(row_of(cell), 1 + len(ensemble_members))
        np.testing.assert_allclose(voted, np.mean(members, axis=0), atol=TOLERANCE)


async def test_with_all_members_lost_it_is_unavailable(
    partial_triton, control, classifier_on, cell_crops, ensemble_members
):
    await lose(control, "ensemble", *ensemble_members)
    async with classifier_on(partial_triton) as caller:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await caller.ask(caller.request(cell_crops[:1]))
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE


async def test_the_whole_ensemble_answers_again_when_triton_has_it_again(
    partial_triton, control, classifier_on, cell_crops, ensemble_members
):
    *left, lost = ensemble_members
    await lose(control, "ensemble", lost)
    settings = {"health_interval_s": 0.05, "default_members": ensemble_members}
    async with classifier_on(partial_triton, **settings) as caller:
        (response,) = await caller.ask(caller.request(cell_crops[:1]))
        check_degraded(response, left)
        await control.load_model("ensemble")
        async with asyncio.timeout(30):
            while response.cells[0].classification.degraded:
                (response,) = await caller.ask(caller.request(cell_crops[:1]))
    assert [member.name for member in response.provenance.members] == list(ensemble_members)
    assert response.provenance.classifier.sha256
