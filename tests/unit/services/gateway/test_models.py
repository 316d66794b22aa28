"""What the gateway remembers of the classifier's models."""

import pytest

from hemaserve.errors import NotFound, Unavailable
from hemaserve.v1 import cells_pb2
from services.gateway.models import CropShape, ModelDirectory


class Lister:
    """Lists what a test says."""

    def __init__(self, *models: cells_pb2.Model) -> None:
        self.listed = list(models)

    async def models(self, *, timeout_s: float) -> list[cells_pb2.Model]:
        return self.listed

    async def wake(self, model: str, *, timeout_s: float) -> None:
        raise NotFound(f"no classification model {model!r}; available: a, b", reason="MODEL_NOT_FOUND")


def model(name: str, size: int = 96, *, is_default: bool = False) -> cells_pb2.Model:
    return cells_pb2.Model(name=name, input_size_px=size, crop_margin=0.25, is_default=is_default)


def directory(classifier: Lister, max_age_s: float = 0.0) -> ModelDirectory:
    return ModelDirectory(Lister(), classifier, max_age_s=max_age_s)


async def shape(models: ModelDirectory, name: str = "") -> CropShape:
    return await models.crop_shape(name, field="options.model", timeout_s=1)


async def test_the_default_model_is_the_one_that_says_so():
    models = directory(Lister(model("small", 64), model("large", 128, is_default=True)))
    assert await shape(models) == CropShape(128, 0.25)
    assert await shape(models, "small") == CropShape(64, 0.25)


async def test_a_default_ensemble_that_cannot_be_loaded_takes_what_its_members_take():
    assert await shape(directory(Lister(model("vit"), model("xception")))) == CropShape(96, 0.25)


async def test_without_a_default_and_without_agreement_there_is_no_shape():
    with pytest.raises(Unavailable):
        await shape(directory(Lister(model("vit", 64), model("xception", 96))))
    with pytest.raises(Unavailable):
        await shape(directory(Lister()))


async def test_a_model_that_was_known_stays_known_while_it_is_away():
    lister = Lister(model("ensemble", 64, is_default=True), model("vit", 96))
    models = directory(lister)
    await shape(models)
    lister.listed = [model("vit", 96), model("other", 128)]
    assert await shape(models, "ensemble") == CropShape(64, 0.25)
    assert await shape(models) == CropShape(64, 0.25)


async def test_an_unknown_model_is_looked_up_once_more_before_it_is_refused():
    lister = Lister(model("vit", is_default=True))
    models = directory(lister, max_age_s=3600)
    with pytest.raises(NotFound) as refused:
        await shape(models, "new")
    # The classifier knows which there are.
    assert refused.value.message == "options.model: no classification model 'new'; available: a, b"
    assert refused.value.reason == "MODEL_NOT_FOUND"
    lister.listed.append(model("new", 32))
    assert await shape(models, "new") == CropShape(32, 0.25)


async def test_a_model_that_is_lost_while_it_is_loaded_is_unavailable():
    class Loser(Lister):
        async def wake(self, model: str, *, timeout_s: float) -> None:
            """It answers, and is gone when it is looked for."""

    with pytest.raises(Unavailable, match="classification model new is not loaded"):
        await shape(directory(Loser(model("vit", is_default=True))), "new")
