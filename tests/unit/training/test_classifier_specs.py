"""What Triton is told of classifiers and ensembles is what the classifier service understands."""

import pytest

from hemaserve.cells import LEAF_TYPES
from services.classifier.decision import Thresholds
from services.classifier.models import Vote, parse_model, parse_vote
from services.triton.descriptions import ModelDescription, TensorDescription
from training.classifier_specs import CropSpec, ensemble_spec, network_spec, vote_spec
from training.ensemble import ENSEMBLES, Ensemble, proper_subsets, subset_name
from training.results import CalibrationFigures, ClassifierFigures
from training.triton_config import ModelSpec

CROPS = CropSpec(96, 0.15)
DIGEST = "a" * 64
PLACES = (6, 6)
NAMES = ("efficientnet", "xception", "vit", "other")


def described(spec: ModelSpec) -> ModelDescription:
    """What Triton would answer for it."""

    def tensors(specs):
        return tuple(
            TensorDescription(tensor.name, tensor.data_type.removeprefix("TYPE_"), tensor.dims)
            for tensor in specs
        )

    return ModelDescription(
        name=spec.name,
        version="1",
        versions=("1",),
        platform="",
        backend="",
        max_batch_size=spec.max_batch_size,
        inputs=tensors(spec.inputs),
        outputs=tensors(spec.outputs),
        parameters=spec.parameters,
    )


def ensemble_figures(members) -> ClassifierFigures:
    subsets = {
        subset_name(subset): CalibrationFigures(
            temperature=0.5 + index, identify_threshold=0.6, ood_limit=2.0, disagreement_limit=None
        )
        for index, subset in enumerate(proper_subsets(members))
    }
    return ClassifierFigures(
        name="ensemble", temperature=0.8, ood_limit=2.5, disagreement_limit=0.4, subsets=subsets
    )


def test_a_networks_limit_and_score_reach_the_service():
    figures = ClassifierFigures(name="vit", identify_threshold=0.7, ood_limit=3.25)
    model = parse_model(described(network_spec(figures, "A ViT", DIGEST, CROPS, PLACES)))
    assert (model.name, model.title, model.sha256, model.scores_ood) == ("vit", "A ViT", DIGEST, True)
    assert model.thresholds == Thresholds(identify=0.7, leaf=0.6, ood_limit=3.25)
    assert (model.crop_size_px, model.crop_margin, model.leaf_types) == (96, 0.15, LEAF_TYPES)


def test_a_network_without_a_limit_has_no_such_parameter():
    spec = network_spec(ClassifierFigures(name="vit"), "A ViT", DIGEST, CROPS, PLACES)
    assert not {"ood_limit", "disagreement_limit"} & spec.parameters.keys()


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_calibration_of_every_subset_reaches_the_service(count):
    members = NAMES[:count]
    figures, ensemble = ensemble_figures(members), Ensemble("ensemble", "vote", members)
    model = parse_model(described(ensemble_spec(figures, ensemble, DIGEST, CROPS)))
    assert model.members == members
    assert len(model.votes) == 2**count - 1
    assert model.votes[members] == Vote(0.8, Thresholds(0.5, 0.6, 2.5, 0.4))
    for subset in proper_subsets(members):
        expected = Thresholds(identify=0.6, leaf=0.6, ood_limit=2.0)
        assert model.votes[subset] == Vote(figures.subsets[subset_name(subset)].temperature, expected)
    assert parse_vote(described(vote_spec(figures, ensemble, DIGEST))) == model.votes


@pytest.mark.parametrize("count", [2, 3, 4])
def test_every_tensor_of_a_step_comes_from_somewhere(count):
    members = NAMES[:count]
    figures, ensemble = ensemble_figures(members), Ensemble("ensemble", "vote", members)
    spec = ensemble_spec(figures, ensemble, DIGEST, CROPS)
    *asked, last = spec.steps
    assert [step.model for step in asked] == list(members)
    produced = {"crops"} | {tensor for step in asked for tensor in step.outputs.values()}
    assert set(last.inputs.values()) <= produced
    vote = vote_spec(figures, ensemble, DIGEST)
    assert list(last.inputs) == [tensor.name for tensor in vote.inputs]
    assert {tensor.name for tensor in spec.outputs} <= produced | set(last.outputs.values())


def test_a_vote_that_was_calibrated_for_other_members_is_refused():
    with pytest.raises(ValueError, match="not calibrated"):
        ensemble_spec(ensemble_figures(NAMES[:2]), Ensemble("ensemble", "vote", NAMES[:3]), DIGEST, CROPS)


def test_subsets_are_all_choices_but_none_and_all():
    assert proper_subsets(("a", "b", "c")) == [
        ("a",),
        ("b",),
        ("c",),
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]


def test_a_network_has_evidence_of_every_leaf_for_every_place():
    spec = network_spec(ClassifierFigures(name="vit"), "A ViT", DIGEST, CROPS, (12, 10))
    outputs = {tensor.name: (tensor.data_type, tensor.dims) for tensor in spec.outputs}
    assert outputs == {
        "probabilities": ("TYPE_FP32", (len(LEAF_TYPES),)),
        "ood_score": ("TYPE_FP32", (1,)),
        "evidence": ("TYPE_FP32", (len(LEAF_TYPES), 12, 10)),
    }


@pytest.mark.parametrize("name", sorted(ENSEMBLES))
def test_every_ensemble_ends_in_its_own_vote(name):
    ensemble = ENSEMBLES[name]
    figures = ensemble_figures(ensemble.members)
    spec = ensemble_spec(figures, ensemble, DIGEST, CROPS)
    assert spec.name == name
    assert spec.steps[-1].model == ensemble.vote == vote_spec(figures, ensemble, DIGEST).name
    assert spec.parameters["title"] == ensemble.title


def test_the_title_of_an_ensemble_lists_its_members():
    assert (
        Ensemble("ensemble", "vote", ("vgg19", "xception", "unet")).title
        == "Ensemble of vgg19, xception and unet"
    )
