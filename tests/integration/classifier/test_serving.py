"""The classifier on the real Triton with the real networks."""

import asyncio
import io
import urllib.request

import numpy as np
import pytest
from google.rpc import code_pb2
from PIL import Image

from hemaserve.cells import LEAF_TYPES
from hemaserve.v1 import cells_pb2, classifier_pb2
from hemaserve.voting import vote
from services.classifier.models import parse_model
from services.triton.client import TritonClient

LEAVES = len(LEAF_TYPES)
BFLOAT16 = 5e-3
"""What the networks' outputs may differ by where they run in bfloat16: it rounds numbers below 1 by up to 2**-9."""


@pytest.fixture(scope="module")
async def caller(triton, classifier_on):
    async with classifier_on(triton) as caller:
        yield caller


@pytest.fixture(scope="module")
async def networks(triton):
    async with TritonClient(triton) as client:
        yield client


def far_apart(rows, count):
    """Indices of `count` rows that are as different from each other as can be had, greedily."""
    chosen = [0]
    while len(chosen) < count:
        nearest = np.abs(rows[:, None] - rows[None, chosen]).max(axis=2).min(axis=1)
        chosen.append(int(nearest.argmax()))
    return np.array(chosen)


async def test_the_ensembles_answer_is_the_vote_of_its_members(caller, networks, cell_crops):
    model = parse_model(await networks.model_config("ensemble"))
    shown = cell_crops[::2]  # of all types, and no more than a network takes at once
    answers = await caller.opinions(shown)
    said = [(await networks.infer(name, {"crops": shown}, ["probabilities"])) for name in model.members]
    opinions = [answer["probabilities"] for answer in said]
    ensemble, *members = np.split(answers, len(answers[0]) // LEAVES, axis=1)
    assert len(members) == len(opinions) > 1
    np.testing.assert_allclose(members, opinions, atol=BFLOAT16)
    np.testing.assert_allclose(
        ensemble, vote(opinions, model.votes[model.members].temperature), atol=BFLOAT16
    )


async def test_the_answer_names_the_networks_that_gave_it(caller, networks, cell_crops, ensemble_members):
    (response,) = await caller.ask(caller.request(cell_crops[:1]))
    for found in (response.provenance.classifier, *response.provenance.members):
        description = await networks.model_config(found.name)
        assert found.version == description.version
        assert found.sha256 == description.parameters["sha256"]
    assert [member.name for member in response.provenance.members] == list(ensemble_members)
    assert not response.cells[0].classification.degraded


async def test_a_member_can_be_asked_by_itself(caller, networks, cell_crops, ensemble_members):
    shown = cell_crops[::2]
    for model in ensemble_members:
        expected = (await networks.infer(model, {"crops": shown}, ["probabilities"]))["probabilities"]
        found = await caller.opinions(shown, model=model)
        np.testing.assert_allclose(found, expected, atol=BFLOAT16)


async def test_a_bad_crop_among_good_ones_harms_none_of_them(caller, cell_crops, row_of):
    chosen = cell_crops[:9]
    request = caller.request(chosen)
    request.cells[4].crop.data = b"no pixels"
    request.cells[6].crop.MergeFrom(
        cells_pb2.Crop(encoding=cells_pb2.CROP_ENCODING_JPEG, data=b"\xff\xd8\xff")
    )
    (response,) = await caller.ask(request)
    expected = await caller.opinions(chosen)
    for index, cell in enumerate(response.cells):
        assert cell.cell_id == str(index)
        if index in (4, 6):
            assert cell.error.code == code_pb2.INVALID_ARGUMENT
            assert f"cells[{index}].crop.data" in cell.error.message
        else:
            np.testing.assert_allclose(row_of(cell), expected[index], atol=BFLOAT16)


async def test_a_png_is_named_as_its_pixels_are(caller, cell_crops, row_of):
    buffer = io.BytesIO()
    Image.fromarray(cell_crops[0]).save(buffer, "PNG")
    request = caller.request(cell_crops[:1])
    png = cells_pb2.Crop(encoding=cells_pb2.CROP_ENCODING_PNG, data=buffer.getvalue())
    request.cells.append(classifier_pb2.CellToClassify(crop=png))
    (response,) = await caller.ask(request)
    np.testing.assert_allclose(row_of(response.cells[1]), row_of(response.cells[0]), atol=BFLOAT16)


async def test_streams_side_by_side_never_get_each_others_rows(caller, cell_crops, row_of):
    everything = await caller.opinions(cell_crops)
    chosen = far_apart(everything, 8)
    alone = np.stack([(await caller.opinions(cell_crops[i : i + 1]))[0] for i in chosen])
    chance = np.random.default_rng(7)

    async def stream(number):
        picks = [chance.integers(0, len(chosen), chance.integers(1, 24)) for _ in range(6)]
        tagged = [
            caller.request(cell_crops[chosen[pick]], first_id=1000 * number + 50 * n)
            for n, pick in enumerate(picks)
        ]
        responses = await caller.ask(*tagged)
        assert len(responses) == len(picks)
        for request, pick, response in zip(tagged, picks, responses, strict=True):
            ids = [cell.crop.cell_id for cell in request.cells]
            assert [cell.cell_id for cell in response.cells] == ids
            found = np.stack([row_of(cell) for cell in response.cells])
            distances = np.abs(found[:, None] - alone[None]).max(axis=2)
            np.testing.assert_array_equal(distances.argmin(axis=1), pick)
            np.testing.assert_allclose(found, alone[pick], atol=BFLOAT16)

    await asyncio.gather(*(stream(number) for number in range(12)))


async def test_more_cells_than_the_network_takes_at_once_are_all_named(caller, networks, cell_crops):
    assert (await networks.model_config("ensemble")).max_batch_size < 2 * len(cell_crops)
    twice = np.concatenate([cell_crops, cell_crops[::-1]])
    (response,) = await caller.ask(caller.request(twice))
    assert len(response.cells) == len(twice)
    assert all(cell.HasField("classification") for cell in response.cells)
    first, mirrored = response.cells[: len(cell_crops)], response.cells[: len(cell_crops) - 1 : -1]
    for one, other in zip(first, mirrored, strict=True):
        assert one.classification.primary_type == other.classification.primary_type


async def test_a_caller_that_goes_away_leaves_nothing_behind(caller, cell_crops, ensemble_members):
    call = caller.stub.Classify(caller.request(cell_crops) for _ in range(200))
    await call.read()
    call.cancel()
    idle = 'rpc_in_progress{method="/hemaserve.v1.ClassifierService/Classify"} 0.0'
    async with asyncio.timeout(30):
        while idle not in await metrics(caller):  # noqa: ASYNC110 - a scrape is all that tells
            await asyncio.sleep(0.05)
    opinions = 1 + len(ensemble_members)
    assert (await caller.opinions(cell_crops[:1])).shape == (1, opinions * LEAVES)


async def metrics(caller):
    def scrape():
        with urllib.request.urlopen(f"http://{caller.metrics_address}/metrics", timeout=10) as answer:
            return answer.read().decode()

    return await asyncio.to_thread(scrape)


async def test_the_classifiers_of_the_repository_are_listed(caller, ensemble_members):
    response = await caller.stub.ListClassifiers(classifier_pb2.ListClassifiersRequest())
    models = {m.name: m for m in response.models if m.task == cells_pb2.MODEL_TASK_CLASSIFICATION}
    assert set(models) >= {"ensemble", *ensemble_members}
    assert all(model.ready for model in models.values())
    assert [name for name, model in models.items() if model.is_default] == ["ensemble"]
