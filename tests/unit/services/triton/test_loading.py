"""Models are loaded when first asked for: once, however many ask, and only what the repository has."""

import asyncio

import pytest
from tritonclient.utils import InferenceServerException

from services.triton.loading import LOAD_AGAIN_S, ModelLoader


class Repository:
    """A repository whose models load when `gate` is open."""

    def __init__(self, *names):
        self.names = set(names)
        self.loaded = set()
        self.broken = set()
        self.attempts = []
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.now_s = 1000.0
        self.loader = ModelLoader(self.known, self.ready, self.load, clock=lambda: self.now_s)

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

    loader = ModelLoader(known, repository.ready, repository.load)
    with pytest.raises(ConnectionError):
        await loader.load("vit")
    assert await loader.load("vit")
