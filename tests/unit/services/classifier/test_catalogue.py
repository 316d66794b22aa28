"""Which models there are, as Triton comes and goes."""

import asyncio
import dataclasses

import pytest

from hemaserve.errors import NotFound, Unavailable
from services.classifier.catalogue import LOOK_AGAIN_S, ModelCatalogue
from services.classifier.decision import Thresholds


async def test_an_empty_name_means_the_default_model(catalogue):
    assert (await catalogue.get("")).name == "ensemble"


async def test_triton_is_asked_once_however_many_ask(catalogue, triton):
    models = await asyncio.gather(*(catalogue.get(name) for name in ["", "vit", "xception", "ensemble"] * 5))
    assert {model.name for model in models} == {"ensemble", "vit", "xception"}
    assert triton.looks == 1


async def test_all_who_wait_for_a_triton_that_does_not_answer_learn_so_at_once(
    catalogue, triton, monkeypatch
):
    looks, asked = [], asyncio.Event()
    answer = asyncio.get_running_loop().create_future()

    async def no_answer():
        looks.append("models")
        asked.set()
        await answer

    monkeypatch.setattr(triton, "models", no_answer)
    asking = [asyncio.create_task(catalogue.get(name)) for name in ["", "vit"] * 5]
    await asked.wait()
    asking[0].cancel()  # who asked first need not be there at the end
    await asyncio.sleep(0)
    answer.set_exception(Unavailable("the networks are not available at the moment"))
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert [type(outcome) for outcome in outcomes[1:]] == [Unavailable] * 9
    assert len(looks) == 1
    monkeypatch.undo()
    assert (await catalogue.get("vit")).name == "vit"


async def test_an_unknown_model_is_not_found_and_the_answer_lists_those_there_are(catalogue, triton):
    triton.descriptions["yolov8n"] = triton.describe("yolov8n", task="detection")
    for name in ("resnet", "yolov8n"):
        with pytest.raises(NotFound, match=rf"'{name}'; available: ensemble, vit, xception$") as refused:
            await catalogue.get(name)
        assert refused.value.reason == "MODEL_NOT_FOUND"


async def test_an_unknown_model_is_told_which_would_be_loaded(catalogue, triton):
    triton.asleep = {name: triton.describe(name) for name in ("resnet50", "unet", "yolov5n", "leukemia_cell")}
    with pytest.raises(NotFound, match=r"vit, xception; loaded when asked for: resnet50, unet$"):
        await catalogue.get("resnet")


async def test_wrong_names_make_triton_be_asked_only_now_and_then(triton):
    now = 0.0
    catalogue = ModelCatalogue(triton, default="ensemble", clock=lambda: now)
    for _ in range(10):
        with pytest.raises(NotFound):
            await catalogue.get("resnet")
    assert triton.looks == 1
    now = LOOK_AGAIN_S
    triton.descriptions["resnet"] = triton.describe("resnet")
    assert (await catalogue.get("resnet")).name == "resnet"


async def test_check_fails_while_the_default_model_is_not_ready(catalogue, triton):
    await catalogue.check()
    ensemble = triton.descriptions.pop("ensemble")
    with pytest.raises(Unavailable):
        await catalogue.check()
    triton.descriptions["ensemble"] = ensemble
    triton.reachable = False
    with pytest.raises(Unavailable):
        await catalogue.check()


async def test_a_triton_that_came_back_is_asked_again(catalogue, triton):
    assert (await catalogue.get("vit")).sha256 == f"{3:064x}"
    triton.reachable = False
    with pytest.raises(Unavailable):
        await catalogue.check()
    triton.reachable = True
    triton.descriptions["vit"] = triton.describe("vit", sha256="a" * 64)
    await catalogue.check()
    assert (await catalogue.get("vit")).sha256 == "a" * 64


async def test_an_unusable_model_harms_no_other(catalogue, triton):
    triton.descriptions["broken"] = triton.describe("broken", leaf_threshold="much")
    assert [listed.model.name for listed in await catalogue.listed()] == ["ensemble", "vit", "xception"]


@pytest.mark.parametrize("spoilt", [{"leaf_threshold": "much"}, {"leaf_types": "lymphocyte,monocyte"}])
async def test_an_ensemble_whose_member_does_not_fit_is_not_used_as_a_whole(catalogue, triton, spoilt):
    triton.descriptions["vit"] = triton.describe("vit", **spoilt)
    model = await catalogue.get("ensemble")
    assert (model.votes, model.loaded) == ({}, False)
    assert [member.name for member in catalogue.members(model)] == ["xception"]


async def test_listing_says_what_is_default_and_what_is_ready(catalogue):
    listed = await catalogue.listed()
    assert [(each.model.name, each.ready, each.is_default) for each in listed] == [
        ("ensemble", True, True),
        ("vit", True, False),
        ("xception", True, False),
    ]


async def test_members_stand_in_for_a_default_model_that_triton_does_not_have(catalogue, triton):
    triton.unload("ensemble")
    model = await catalogue.get("")
    assert (model.name, model.version, model.sha256) == ("ensemble", "", "")
    assert model.members == ("xception", "vit")
    assert model.thresholds == Thresholds(identify=0.8, leaf=0.6)
    assert (model.votes, model.loaded) == ({}, False)


async def test_without_any_member_the_default_model_is_unavailable(catalogue, triton):
    triton.unload("ensemble", "vit", "xception")
    with pytest.raises(Unavailable):
        await catalogue.get("")


async def test_a_vote_that_cannot_be_used_is_as_none(scoring_catalogue, scoring_triton):
    vote = scoring_triton.descriptions["vote"]
    spoilt = dict(vote.parameters) | {"subset.vit.vote_temperature": "0"}
    scoring_triton.descriptions["vote"] = dataclasses.replace(vote, parameters=spoilt)
    scoring_triton.unload("ensemble")
    assert (await scoring_catalogue.get("")).votes == {}


async def test_the_vote_of_other_members_says_nothing_about_ours(scoring_triton):
    scoring_triton.unload("ensemble")
    members = ("efficientnet", "vit", "resnet")
    catalogue = ModelCatalogue(scoring_triton, default="ensemble", default_members=members)
    model = await catalogue.get("")
    assert (model.members, model.votes) == (members, {})


async def test_a_model_that_is_not_loaded_yet_is_loaded_when_it_is_named(triton, catalogue):
    await catalogue.get("")
    triton.asleep = {"swin": triton.describe("swin")}
    assert (await catalogue.get("swin")).name == "swin"
    assert "swin" in {listed.model.name for listed in await catalogue.listed()}


@pytest.mark.parametrize("name", ["yolov5n", "yolov5x6", "comparative_vote", "leukemia_cell"])
async def test_a_model_whose_name_says_another_task_is_not_loaded_to_find_out(triton, catalogue, name):
    triton.asleep = {name: triton.describe(name, task="another")}
    with pytest.raises(NotFound, match=rf"no classification model '{name}'; available: "):
        await catalogue.get(name)
    assert triton.loads == []
