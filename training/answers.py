"""What a network, or the vote of several, says about crops: all that calibration and evaluation look at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hemaserve import voting
from training import abstention, datasets
from training.checkpoints import checkpoint_path, load_trained
from training.crops import CropSet
from training.ensemble import ENSEMBLES
from training.predict import predict_exported, predict_logits, softmax
from training.results import ClassifierFigures
from training.settings import settings

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Answers:
    """What is said about N crops.

    Attributes:
        at_temperature: probabilities [N, leaves] as a function of the temperature.
        ood_scores: out-of-distribution scores [N].
        disagreements: of the members [N], see `hemaserve.voting.disagreement`; None where only one answers.
    """

    at_temperature: Callable[[float], Floats]
    ood_scores: Floats
    disagreements: NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a calibrated network says about N crops.

    Attributes:
        probabilities: [N, leaves].
        ood_scores: [N].
    """

    probabilities: Floats
    ood_scores: Floats


def recipe_of(name: str) -> str:
    """Name of the recipe whose crops a network is calibrated and measured on: its own, or that of a first member."""
    return ENSEMBLES[name].members[0] if name in ENSEMBLES else name


def logits_of(name: str, crop_set: CropSet) -> NDArray[np.float32]:
    """A trained network's logits [N, leaves]."""
    return predict_logits(load_trained(name), crop_set.crops)


def of_network(logits: NDArray[np.float32], figures: ClassifierFigures) -> Answers:
    """A network's answers; its scores are standardised by the energies that `figures` has of the calibration crops."""
    scores = (abstention.energy(logits) - figures.energy_mean) / figures.energy_deviation
    return Answers(lambda temperature: softmax(logits, temperature), scores)


def of_vote(opinions: Sequence[Opinion]) -> Answers:
    """The answers of the vote of one or more members."""
    probabilities = [opinion.probabilities for opinion in opinions]
    return Answers(
        lambda temperature: voting.vote(probabilities, temperature),
        np.mean([opinion.ood_scores for opinion in opinions], axis=0),
        voting.disagreement(probabilities, datasets.roll_up()) if len(opinions) > 1 else None,
    )


def opinions_of(members: Sequence[str], crop_set: CropSet) -> Mapping[str, Opinion]:
    """What each calibrated member says, by its name."""
    return {member: _opinion(member, crop_set) for member in members}


def _opinion(member: str, crop_set: CropSet) -> Opinion:
    """By the weights that were trained here or, where there are none, by the file that is served."""
    if not checkpoint_path(member).exists():
        return Opinion(
            *predict_exported(settings().model_repository / member / "1" / "model.onnx", crop_set.crops)
        )
    figures = ClassifierFigures.read(member)
    answers = of_network(logits_of(member, crop_set), figures)
    return Opinion(answers.at_temperature(figures.temperature), answers.ood_scores)
