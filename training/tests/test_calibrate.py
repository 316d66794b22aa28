"""Temperatures, and the calibration of networks and of every vote, from given logits."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("ultralytics")

from hemaserve.cells import LEAF_TYPES, CellType
from training import abstention, answers, calibrate, datasets, evaluate
from training.checkpoints import checkpoint_path
from training.crops import CropSet
from training.ensemble import ENSEMBLES
from training.predict import softmax
from training.recipes import Recipe
from training.results import CalibrationFigures, ClassifierFigures, TrainingRun
from training.source_figures import measure
from training.tasks import Task

LEAVES = len(LEAF_TYPES)
NAMES = sorted(ENSEMBLES)


def test_the_fitted_temperature_undoes_overconfidence():
    generator = np.random.default_rng(0)
    honest = generator.normal(size=(20_000, 11)) * 2
    drawn = np.array([generator.choice(11, p=row) for row in softmax(honest)])
    mask = np.eye(11, dtype=bool)[drawn]
    assert calibrate.fit_temperature(lambda t: softmax(honest * 3, t), mask) == pytest.approx(3, rel=0.05)


def labelled(count: int, seed: int) -> CropSet:
    """Crops of all leaves, and of neutrophils whose leaf is not known."""
    random = np.random.default_rng(seed)
    types = [*LEAF_TYPES, CellType.NEUTROPHIL]
    chosen = [types[index] for index in random.integers(0, len(types), count)]
    return CropSet(random.integers(0, 256, (count, 4, 4, 3), np.uint8), datasets.leaf_mask(chosen))


@pytest.fixture
def networks(place, monkeypatch):
    """Three networks that are right most of the time, each in its own way, on given crops; none is run."""

    def logits_of(name, crop_set):
        random = np.random.default_rng([len(name), len(crop_set)])
        hint = crop_set.mask / crop_set.mask.sum(axis=1, keepdims=True)
        spread = 1.2 + len(name) / 20
        return (8 * hint + spread * random.normal(size=hint.shape)).astype(np.float32)

    run = TrainingRun(epochs=1, seconds=1.0)
    monkeypatch.setattr(answers, "logits_of", logits_of)
    monkeypatch.setattr(calibrate, "calibration_crops", lambda name: labelled(700, 1))
    monkeypatch.setattr(calibrate, "training_run", lambda name: run)
    monkeypatch.setattr(evaluate, "validation_crops", lambda name: labelled(1500, 2))
    monkeypatch.setattr(
        evaluate.source_figures,
        "bccd",
        lambda figures, side: measure(
            figures,
            answers.of_network(logits_of("vit", labelled(50, 3)), ClassifierFigures(name="vit")),
            labelled(50, 3),
        ),
    )
    return logits_of


@pytest.fixture
def trained_here(place):
    """Members have weights here, whatever they are."""
    for member in {member for ensemble in ENSEMBLES.values() for member in ensemble.members}:
        path = checkpoint_path(member)
        path.parent.mkdir(parents=True)
        path.touch()


def test_a_networks_scores_are_standardised_over_the_calibration_crops(networks):
    figures = calibrate.calibrate("vit")
    held_out = calibrate.calibration_crops("vit")
    said = answers.of_network(networks("vit", held_out), figures)
    assert said.ood_scores.mean() == pytest.approx(0, abs=1e-6)
    assert said.ood_scores.std() == pytest.approx(1, abs=1e-6)
    assert (said.ood_scores > figures.ood_limit).sum() == 3  # 0.5% of 700
    assert figures.calibration_crops == 700
    assert figures == ClassifierFigures.read("vit")


@pytest.mark.parametrize("ensemble", NAMES)
def test_every_vote_of_an_ensemble_gets_limits_and_thresholds_of_its_own(networks, trained_here, ensemble):
    members = ENSEMBLES[ensemble].members
    for member in members:
        calibrate.calibrate(member)
        evaluate.evaluate(member)
    calibrate.calibrate(ensemble)
    figures = evaluate.evaluate(ensemble)
    assert len(figures.subsets) == 2 ** len(members) - 2
    assert figures == ClassifierFigures.read(ensemble)
    for name, each in {"whole": figures, **figures.subsets}.items():
        assert each.ood_limit is not None
        assert (each.disagreement_limit is None) == (name in members)
        assert each.accuracy > 0.5
        assert each.identified_accuracy >= min(each.accuracy, abstention.TARGET_ACCURACY) - 0.001
        assert 0 < each.unidentified_share <= 0.05
    for member in members:
        alone, own = figures.subsets[member], ClassifierFigures.read(member)
        assert alone.temperature == pytest.approx(1, abs=0.05)
        assert alone.ood_limit == pytest.approx(own.ood_limit, abs=1e-3)
        assert alone.identify_threshold == pytest.approx(own.identify_threshold, abs=0.011)


def test_limits_on_disagreement_and_thresholds_come_from_the_crops_given(networks):
    crops = labelled(1000, 5)
    opinions = [
        answers.Opinion(softmax(networks(name, crops)), np.zeros(1000)) for name in ("vit", "xception")
    ]
    figures = CalibrationFigures(ood_limit=1.0)
    identified = evaluate.choose(figures, answers.of_vote(opinions), crops)
    assert figures.unidentified_by["members_disagree"] == pytest.approx(0.01)
    assert figures.unidentified_by["out_of_distribution"] == 0
    assert figures.unidentified_share == pytest.approx(1 - identified.mean())
    assert figures.unidentified_share <= 0.05


def test_an_opinion_is_that_of_the_file_that_is_served_where_nothing_was_trained(place, monkeypatch):
    crops = labelled(3, 7)
    asked = []

    def predict_exported(path, given):
        asked.append((path, given))
        return np.full((3, LEAVES), 1 / LEAVES), np.arange(3.0)

    monkeypatch.setattr(answers, "predict_exported", predict_exported)
    opinion = answers.opinions_of(["vgg19"], crops)["vgg19"]
    ((path, given),) = asked
    assert path == place.model_repository / "vgg19" / "1" / "model.onnx"
    assert given is crops.crops
    assert opinion.ood_scores.tolist() == [0, 1, 2]


def test_an_opinion_that_neither_weights_nor_file_can_give_is_refused_by_name(place):
    with pytest.raises(FileNotFoundError, match=r"vgg19/1/model\.onnx does not exist.*not trained here"):
        answers.opinions_of(["vgg19"], labelled(3, 7))


def test_crops_are_those_of_a_networks_recipe_and_of_an_ensembles_first_member(monkeypatch):
    asked = []

    def recipe(name):
        task = Task(("a",), np.eye(1), 1.0, None, lambda side: asked.append((name, side)) or labelled(2, 0))
        return Recipe(name, 1, small_px=64, side_px={"vgg19": 96, "resnet50": 128}[name], task=task)

    monkeypatch.setattr(evaluate, "RECIPES", {name: recipe(name) for name in ("vgg19", "resnet50")})
    evaluate.validation_crops("resnet50")
    evaluate.validation_crops("comparative_ensemble")
    assert asked == [("resnet50", 128), ("vgg19", 96)]
