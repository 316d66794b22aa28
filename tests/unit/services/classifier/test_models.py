"""A classification model from Triton's configuration of it."""

import dataclasses

import pytest

from hemaserve.cells import LEAF_TYPES
from services.classifier.decision import Thresholds
from services.classifier.models import UnusableModelError, is_classification, parse_model
from services.triton.client import TensorDescription


def test_a_network_says_what_it_is(triton):
    model = parse_model(triton.describe("vit"))
    assert (model.name, model.version, model.title) == ("vit", "1", "The vit")
    assert model.leaf_types == LEAF_TYPES
    assert (model.crop_size_px, model.crop_margin, model.max_batch_size) == (96, 0.15, 8)
    assert model.thresholds == Thresholds(identify=0.8, leaf=0.6)
    assert model.members == ()
    assert model.vote_temperature is None


def test_an_ensemble_names_its_members(triton):
    model = parse_model(triton.describe("ensemble"))
    assert model.members == ("xception", "vit")
    assert model.vote_temperature == 0.5


def test_a_model_that_does_not_batch_takes_one_crop_at_a_time(triton):
    assert parse_model(dataclasses.replace(triton.describe("vit"), max_batch_size=0)).max_batch_size == 1


def test_other_tasks_are_none_of_ours(triton):
    assert is_classification(triton.describe("vit"))
    assert not is_classification(triton.describe("vote", task="vote"))
    assert not is_classification(dataclasses.replace(triton.describe("vit"), parameters={}))


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("sha256", "unknown"),
        ("preprocessing_version", "0"),
        ("leaf_types", "lymphocyte,martian"),
        ("leaf_types", ""),
        ("crop_margin", "-0.1"),
        ("identify_threshold", "nan"),
        ("identify_threshold", "1.5"),
        ("leaf_threshold", "much"),
        ("vote_temperature", "0"),
        ("members", "xception,resnet"),
    ],
)
def test_a_wrong_parameter_makes_it_unusable_and_is_named(triton, parameter, value):
    with pytest.raises(UnusableModelError, match="resnet" if parameter == "members" else parameter):
        parse_model(triton.describe("ensemble", **{parameter: value}))


@pytest.mark.parametrize(
    "missing", ["title", "sha256", "leaf_types", "identify_threshold", "vote_temperature"]
)
def test_a_missing_parameter_makes_it_unusable(triton, missing):
    description = triton.describe("ensemble")
    parameters = {key: value for key, value in description.parameters.items() if key != missing}
    with pytest.raises(UnusableModelError, match=missing):
        parse_model(dataclasses.replace(description, parameters=parameters))


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": ()},
        {"inputs": (TensorDescription("pixels", "UINT8", (96, 96, 3)),)},
        {"inputs": (TensorDescription("crops", "FP32", (96, 96, 3)),)},
        {"inputs": (TensorDescription("crops", "UINT8", (96, 80, 3)),)},
        {"inputs": (TensorDescription("crops", "UINT8", (-1, -1, 3)),)},
        {"inputs": (TensorDescription("crops", "UINT8", (3, 96, 96)),)},
        {"outputs": ()},
        {"outputs": (TensorDescription("probabilities", "FP32", (10,)),)},
    ],
)
def test_other_inputs_and_outputs_make_it_unusable(triton, changes):
    with pytest.raises(UnusableModelError):
        parse_model(dataclasses.replace(triton.describe("vit"), **changes))
