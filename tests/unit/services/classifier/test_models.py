"""A classification model from Triton's configuration of it."""

import dataclasses

import pytest

from hemaserve.cells import LEAF_TYPES
from services.classifier.decision import Thresholds
from services.classifier.models import Vote, is_classification, is_vote, parse_model, parse_vote
from services.classifier.parameters import UnusableModelError
from services.triton.descriptions import TensorDescription


def test_a_network_says_what_it_is(triton):
    model = parse_model(triton.describe("vit"))
    assert (model.name, model.version, model.title) == ("vit", "1", "The vit")
    assert model.leaf_types == LEAF_TYPES
    assert (model.crop_size_px, model.crop_margin, model.max_batch_size) == (96, 0.15, 8)
    assert model.thresholds == Thresholds(identify=0.8, leaf=0.6)
    assert model.members == ()
    assert (model.votes, model.scores_ood) == ({}, False)


def test_an_ensemble_names_its_members(triton):
    model = parse_model(triton.describe("ensemble"))
    assert model.members == ("xception", "vit")
    assert model.votes == {model.members: Vote(0.5, Thresholds(identify=0.6, leaf=0.6))}


def test_an_ensemble_may_say_how_each_subset_is_calibrated(scoring_triton):
    model = parse_model(scoring_triton.descriptions["ensemble"])
    assert model.scores_ood
    assert sorted(map(len, model.votes)) == [1, 1, 1, 2, 2, 2, 3]
    pair = Vote(1.1, Thresholds(0.61, 0.6, ood_limit=0.55, disagreement_limit=0.22))
    assert model.votes["xception", "vit"] == pair
    assert model.votes[model.members].thresholds == model.thresholds
    assert parse_vote(scoring_triton.descriptions["vote"]) == model.votes


def test_the_members_of_a_subset_may_come_in_any_order(scoring_triton):
    description = scoring_triton.descriptions["ensemble"]
    turned = {
        key.replace("xception+vit", "vit+xception"): value for key, value in description.parameters.items()
    }
    model = parse_model(dataclasses.replace(description, parameters=turned))
    assert ("xception", "vit") in model.votes


def test_a_vote_that_says_nothing_of_its_calibration_is_none_of_ours(triton, scoring_triton):
    assert is_vote(scoring_triton.descriptions["vote"])
    assert not is_vote(triton.describe("ensemble"))
    old = {"task": "vote", "members": "xception,vit", "vote_temperature": "0.5"}
    assert not is_vote(dataclasses.replace(triton.describe("vote"), parameters=old))


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("ood_limit", "inf"),
        ("disagreement_limit", "1.5"),
        ("subset.xception+vit.ood_limit", "much"),
        ("subset.vit.vote_temperature", "-1"),
        ("subset.xception+vit.identify_threshold", "nan"),
        ("subset.resnet.identify_threshold", "0.5"),
        ("subset.xception+resnet.identify_threshold", "0.5"),
        ("subset.", "0.5"),
    ],
)
def test_a_wrong_limit_or_subset_makes_an_ensemble_unusable(scoring_triton, parameter, value):
    description = scoring_triton.descriptions["ensemble"]
    spoilt = dataclasses.replace(description, parameters={**description.parameters, parameter: value})
    with pytest.raises(UnusableModelError):
        parse_model(spoilt)


def test_a_limit_needs_a_score_to_hold_against_it(triton):
    with pytest.raises(UnusableModelError, match="ood_limit"):
        parse_model(triton.describe("vit", ood_limit="2"))


def test_a_score_is_one_number(scoring_triton):
    description = scoring_triton.descriptions["vit"]
    outputs = (*description.outputs[:-1], TensorDescription("ood_score", "FP32", (11,)))
    with pytest.raises(UnusableModelError, match="ood_score"):
        parse_model(dataclasses.replace(description, outputs=outputs))


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
