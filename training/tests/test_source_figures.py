"""A classifier on the cells of another laboratory."""

import numpy as np
import pytest

from hemaserve.cells import LEAF_TYPES, CellType
from training import answers, source_figures
from training.answers import Answers
from training.crops import CropSet
from training.datasets import leaf_mask
from training.results import ClassifierFigures
from training.settings import settings

_TYPES = [CellType.NEUTROPHIL, CellType.NEUTROPHIL, CellType.EOSINOPHIL, CellType.MONOCYTE]


def _crops(count: int = 4) -> CropSet:
    return CropSet(np.zeros((count, 4, 4, 3), np.uint8), leaf_mask(_TYPES[:count]))


def _answers(confidences, guesses, ood=None, disagreements=None) -> Answers:
    probabilities = np.zeros((len(guesses), len(LEAF_TYPES)))
    for row, (confidence, guess) in enumerate(zip(confidences, guesses, strict=True)):
        probabilities[row] = (1 - confidence) / (len(LEAF_TYPES) - 1)
        probabilities[row, LEAF_TYPES.index(guess)] = confidence
    scores = np.zeros(len(guesses)) if ood is None else np.array(ood)
    return Answers(lambda _: probabilities, scores, disagreements)


_GUESSES = [CellType.NEUTROPHIL_BAND, CellType.MONOCYTE, CellType.EOSINOPHIL, CellType.MONOCYTE]
_FIGURES = ClassifierFigures(name="vit", identify_threshold=0.7, ood_limit=1.0, disagreement_limit=0.5)


def test_right_answers_are_counted_by_primary_type():
    measured = source_figures.measure(_FIGURES, _answers([0.9] * 4, _GUESSES), _crops())
    assert measured.primary.accuracy == 0.75
    assert measured.primary.confusion["neutrophil"] == {"neutrophil": 1, "monocyte": 1}
    assert measured.unidentified_share == 0
    assert measured.identified_accuracy == 0.75


@pytest.mark.parametrize(
    "change",
    [
        {"confidences": [0.9, 0.6, 0.9, 0.9]},
        {"ood": [0, 1.1, 0, 0]},
        {"disagreements": np.array([0, 0.6, 0, 0], np.float32)},
    ],
    ids=["improbable", "out of distribution", "members disagree"],
)
def test_each_limit_of_serving_leaves_a_cell_unidentified(change):
    said = _answers(**({"confidences": [0.9] * 4, "guesses": _GUESSES} | change))
    measured = source_figures.measure(_FIGURES, said, _crops())
    assert measured.unidentified_share == 0.25
    assert measured.identified_accuracy == 1.0
    assert measured.primary.accuracy == 0.75


def test_with_no_cell_identified_nothing_is_known():
    measured = source_figures.measure(_FIGURES, _answers([0.5] * 4, _GUESSES), _crops())
    assert measured.unidentified_share == 1.0
    assert measured.identified_accuracy_ci95 == (0.0, 1.0)


@pytest.mark.parametrize(("without", "count"), [("false", 1), ("true", 4)])
def test_networks_that_saw_none_of_a_set_are_measured_on_all_of_it(place, monkeypatch, without, count):
    monkeypatch.setenv("HEMASERVE_WITHOUT_BCCD", without)
    settings.cache_clear()
    monkeypatch.setattr(source_figures, "bccd_crops", lambda split, _: _crops({"train": 3, "val": 1}[split]))
    monkeypatch.setattr(
        answers, "logits_of", lambda _, crops: np.zeros((len(crops), len(LEAF_TYPES)), np.float32)
    )
    assert source_figures.bccd(_FIGURES, 96).primary.crops == count


@pytest.mark.parametrize(
    ("name", "count"),
    [("vgg19", 4), ("hussien2025_vgg19_80", 4), ("vit", 1), ("comparative_ensemble", 1)],
)
def test_strangers_are_measured_on_both_sides_and_whoever_saw_one_side_on_the_other(
    place, monkeypatch, name, count
):
    monkeypatch.setattr(source_figures, "bccd_crops", lambda split, _: _crops({"train": 3, "val": 1}[split]))
    monkeypatch.setattr(
        source_figures,
        "_answers",
        lambda figures, crops: _answers([0.9] * len(crops), _GUESSES[: len(crops)]),
    )
    assert source_figures.bccd(ClassifierFigures(name=name), 96).primary.crops == count
