"""Scores, disagreement and per-subset calibration, over a real Triton with tiny networks of the exported shape."""

import asyncio

import numpy as np
import pytest
from tritonclient.grpc.aio import InferenceServerClient

from hemaserve.cells import LEAF_TYPES, PRIMARY_TYPES, roll_up_matrix
from hemaserve.v1 import cells_pb2, classifier_pb2
from hemaserve.voting import disagreement, vote
from services.triton.client import TritonClient

from .tiny_ensemble import calibration, write_repository

MEMBERS = ("efficientnet", "xception", "vit")
LEAVES = len(LEAF_TYPES)
TOLERANCE = 5e-3
"""What answers may differ by where networks run in bfloat16: it rounds numbers by up to 2**-9 of themselves."""

LOW, APART, STRANGE = (
    cells_pb2.UNIDENTIFIED_REASON_LOW_PROBABILITY,
    cells_pb2.UNIDENTIFIED_REASON_MEMBERS_DISAGREE,
    cells_pb2.UNIDENTIFIED_REASON_OUT_OF_DISTRIBUTION,
)


@pytest.fixture(scope="module")
def tiny_triton(start_triton, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    write_repository(folder, MEMBERS)
    with start_triton(folder, models=("ensemble",)) as server:
        yield server.grpc_address


@pytest.fixture
async def control(tiny_triton):
    """Loads and unloads models; after the test, all of the ensemble is there again."""
    client = InferenceServerClient(tiny_triton)
    yield client
    for name in (*MEMBERS, "vote", "ensemble"):
        await client.load_model(name)
    await client.close()


async def lose(control, *names):
    for name in names:
        await control.unload_model(name)
    async with asyncio.timeout(30):
        while any([await control.is_model_ready(name) for name in names]):  # noqa: ASYNC110 - Triton signals nothing
            await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
def crops():
    """Crops of one colour each, from black to white."""
    colours = np.random.default_rng(0).integers(0, 256, (24, 1, 1, 3), np.uint8)
    return np.ascontiguousarray(np.broadcast_to(colours, (24, 96, 96, 3)))


async def said_by_members(address, members, crops):
    """Probabilities [members, N, leaves] and scores [members, N], asked of Triton itself."""
    async with TritonClient(address) as client:
        answers = [
            await client.infer(member, {"crops": crops}, ["probabilities", "ood_score"]) for member in members
        ]
    return [answer["probabilities"] for answer in answers], [answer["ood_score"][:, 0] for answer in answers]


async def check(response, address, members, crops, *, degraded):
    """What the service answered is what these members say, by the calibration of these members."""
    opinions, scores = await said_by_members(address, members, crops)
    expected = calibration(members)
    for limit in ("ood_limit", "disagreement_limit"):
        assert getattr(response.provenance, limit) == pytest.approx(expected[limit])
    assert response.provenance.identify_threshold == pytest.approx(expected["identify_threshold"])
    voted, score = vote(opinions, expected["temperature"]), np.mean(scores, axis=0)
    apart = None
    if len(members) > 1:
        apart = disagreement(opinions, roll_up_matrix(LEAF_TYPES, PRIMARY_TYPES))
    for row, cell in enumerate(response.cells):
        answer = cell.classification
        found = [each.probability for each in answer.leaf_probabilities]
        np.testing.assert_allclose(found, voted[row], atol=TOLERANCE)
        assert answer.ood_score == pytest.approx(score[row], rel=0.01, abs=0.05)
        if apart is None:
            assert not answer.HasField("disagreement")
        else:
            assert answer.disagreement == pytest.approx(apart[row], abs=2 * TOLERANCE)
        assert [member.model for member in answer.members] == list(members)
        assert answer.degraded == degraded
        tripped = {
            LOW: answer.probability < np.float32(expected["identify_threshold"]),
            APART: apart is not None and answer.disagreement > np.float32(expected["disagreement_limit"]),
            STRANGE: answer.ood_score > np.float32(expected["ood_limit"]),
        }
        assert set(answer.unidentified_reasons) == {reason for reason, is_so in tripped.items() if is_so}
        assert answer.identified == (not answer.unidentified_reasons)


async def test_an_ensembles_limits_leave_cells_unidentified_and_each_says_why(
    tiny_triton, classifier_on, crops
):
    async with classifier_on(tiny_triton) as caller:
        (response,) = await caller.ask(caller.request(crops))
    await check(response, tiny_triton, MEMBERS, crops, degraded=False)
    reasons = {reason for cell in response.cells for reason in cell.classification.unidentified_reasons}
    assert reasons >= {APART, STRANGE}
    assert response.provenance.classifier.sha256


@pytest.mark.parametrize("member", MEMBERS)
async def test_a_single_network_has_a_score_and_a_limit_of_its_own(tiny_triton, classifier_on, crops, member):
    async with classifier_on(tiny_triton) as caller:
        (response,) = await caller.ask(caller.request(crops, model=member))
    _, (scores,) = await said_by_members(tiny_triton, [member], crops)
    limit = calibration([member])["ood_limit"]
    assert response.provenance.ood_limit == pytest.approx(limit)
    assert not response.provenance.HasField("disagreement_limit")
    for cell, score in zip(response.cells, scores, strict=True):
        assert cell.classification.ood_score == pytest.approx(score, rel=0.01, abs=0.05)
        strange = STRANGE in cell.classification.unidentified_reasons
        assert strange == (cell.classification.ood_score > np.float32(limit))


@pytest.mark.parametrize("noticed_by", ["inference", "start"])
@pytest.mark.parametrize(
    ("lost", "left"),
    [(["vit"], ("efficientnet", "xception")), (["efficientnet", "vit"], ("xception",))],
)
async def test_who_is_left_answers_by_a_calibration_of_their_own(
    tiny_triton, control, classifier_on, crops, lost, left, noticed_by
):
    if noticed_by == "start":
        await lose(control, "ensemble", *lost)
    async with classifier_on(tiny_triton, default_members=MEMBERS, health_interval_s=60.0) as caller:
        if noticed_by == "inference":
            await caller.ask(caller.request(crops[:1]))
            await lose(control, "ensemble", *lost)
        (response,) = await caller.ask(caller.request(crops))
    await check(response, tiny_triton, left, crops, degraded=True)
    assert response.provenance.classifier == cells_pb2.ModelProvenance(name="ensemble")


async def test_the_tiny_networks_are_all_that_is_listed(tiny_triton, classifier_on):
    async with classifier_on(tiny_triton) as caller:
        response = await caller.stub.ListClassifiers(classifier_pb2.ListClassifiersRequest())
    assert [model.name for model in response.models] == sorted(["ensemble", *MEMBERS])
