"""Models are loaded when first asked for: once, however many ask, and only what the repository has."""

import asyncio

import pytest
from tritonclient.utils import InferenceServerException

from hemaserve.errors import FailedPrecondition
from hemaserve.unshipped import UNSHIPPED
from services.triton.loading import LOAD_AGAIN_S, LoadPolicy, ModelLoader


class Repository:
    """A repository whose models load when `gate` is open."""

    def __init__(self, *names, policy=LoadPolicy()):
        self.names = set(names)
        self.loaded = set()
        self.broken = set()
        self.attempts = []
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.now_s = 1000.0
        self.loader = ModelLoader(policy, self.known, self.ready, self.load, clock=lambda: self.now_s)

    async def known(self):
        return self.names

    async def ready(self, model):
        return model in self.loaded

    async def load(self, model, timeout_s):
        self.attempts.append(model)
        self.begun.set()
        await self.gate.wait()
        if model in self.broken:
            raise InferenceServerException("broken", "StatusCode.INTERNAL")
        self.loaded.add(model)


async def test_a_model_is_loaded_once_however_many_ask():
    repository = Repository("vit")
    repository.gate.clear()
    waiting = [asyncio.create_task(repository.loader.load("vit")) for _ in range(5)]
    await repository.begun.wait()
    repository.gate.set()
    assert await asyncio.gather(*waiting) == [True] * 5
    assert await repository.loader.load("vit")
    assert repository.attempts == ["vit"]


@pytest.mark.parametrize("name", ["rose", "", "../vit"])
async def test_a_name_that_the_repository_does_not_have_is_never_loaded(name):
    repository = Repository("vit")
    assert not await repository.loader.load(name)
    assert repository.attempts == []


async def test_a_loading_goes_on_when_who_asked_for_it_has_gone():
    repository = Repository("vit")
    repository.gate.clear()
    impatient = asyncio.create_task(repository.loader.load("vit"))
    await repository.begun.wait()
    impatient.cancel()
    with pytest.raises(asyncio.CancelledError):
        await impatient
    patient = asyncio.create_task(repository.loader.load("vit"))
    repository.gate.set()
    assert await patient
    assert repository.attempts == ["vit"]


async def test_a_model_that_cannot_be_loaded_is_tried_again_only_after_a_while():
    repository = Repository("vit")
    repository.broken = {"vit"}
    assert not await repository.loader.load("vit")
    repository.broken = set()
    assert not await repository.loader.load("vit")
    repository.now_s += LOAD_AGAIN_S
    assert await repository.loader.load("vit")
    assert repository.attempts == ["vit", "vit"]


async def test_what_goes_wrong_while_asking_is_raised_and_forgotten():
    repository = Repository("vit")
    failures = iter([ConnectionError("away")])

    async def known():
        for failure in failures:
            raise failure
        return {"vit"}

    loader = ModelLoader(LoadPolicy(), known, repository.ready, repository.load)
    with pytest.raises(ConnectionError):
        await loader.load("vit")
    assert await loader.load("vit")


async def test_where_none_is_loaded_on_request_it_is_refused_and_told_who_would():
    repository = Repository("vit", "xception", policy=LoadPolicy(on_request=False, profile="tiny"))
    repository.loaded.add("xception")
    with pytest.raises(FailedPrecondition, match=r"'vit'.*profile tiny.*--profile default") as refused:
        await repository.loader.load("vit")
    assert refused.value.reason == "MODEL_NOT_LOADED_ON_REQUEST"
    assert await repository.loader.load("xception")
    assert not await repository.loader.load("rose")
    assert repository.attempts == []


@pytest.mark.parametrize("on_request", [True, False])
async def test_who_asks_for_a_network_that_is_not_shipped_is_told_why_and_how_to_make_it(on_request):
    repository = Repository("vit", policy=LoadPolicy(on_request=on_request))
    network = UNSHIPPED["yolov5x6"]
    with pytest.raises(FailedPrecondition) as refused:
        await repository.loader.load(network.name)
    assert refused.value.reason == "MODEL_NOT_SHIPPED"
    assert network.reason in refused.value.message
    assert "python -m training run yolov5x6 (in a checkout; see training/README.md)" in refused.value.message


async def test_a_network_that_is_not_shipped_and_was_made_is_loaded_like_any():
    repository = Repository("yolov5x6")
    assert await repository.loader.load("yolov5x6")
