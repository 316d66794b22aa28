"""The figures of each network: what calibration and evaluation find out, and export and the cards need.

One JSON file per network in ``training/results``, committed next to the code that made it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, Field

from hemaserve.evaluation.metrics import Interval, ReliabilityBin
from training.scores import ScoreFigures
from training.settings import settings


class Figures(BaseModel):
    """Base of the results files: reads and writes ``training/results/NAME.json``."""

    name: str
    """The model's name in the model repository."""

    @staticmethod
    def path(name: str) -> Path:
        return settings().results / f"{name}.json"

    @classmethod
    def read(cls, name: str) -> Self:
        """The stored figures.

        Raises:
            FileNotFoundError: the network has not been evaluated yet.
        """
        return cls.model_validate_json(cls.path(name).read_text())

    def write(self) -> None:
        path = self.path(self.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.model_dump_json(indent=2) + "\n")


class TrainingRun(BaseModel):
    """How the weights came about."""

    epochs: int
    seconds: float
    """Wall-clock time of all epochs together."""

    crops: int = 0
    """Training examples per epoch."""

    threads: int = 2
    seed: int = 0
    device: str = "cpu"
    """``cpu`` or ``cuda``."""

    parameters: int = 0
    """Numbers that the network has learned; 0 where an older run did not say."""

    recipe: dict[str, str] = Field(default_factory=dict)
    """What the network was trained by, see `describe_recipe`."""


class KindFigures(BaseModel):
    """One kind of object on the validation fields."""

    objects: int
    average_precision_50: float
    score_threshold: float
    """The score with the best F1 on the validation fields."""

    precision: float
    """At `score_threshold`, IoU 0.5."""

    recall: float
    """At `score_threshold`, IoU 0.5."""


class DetectorFigures(Figures):
    """A detector on the validation fields, with the letterbox and suppression that serving uses."""

    nms_iou: float = 0.6
    fields: int = 0
    map50: float = 0.0
    map50_95: float = 0.0
    kinds: dict[str, KindFigures] = Field(default_factory=dict)
    training: TrainingRun | None = None


class TypeFigures(BaseModel):
    """One primary type on the validation crops, without abstention."""

    crops: int
    recall: float
    precision: float


class CalibrationFigures(BaseModel):
    """How the answers of a network, or of a vote, are calibrated, when they count, and what that comes to."""

    temperature: float = 1.0
    """Divides the logits (a network) or is the root taken of the mean probability (a vote)."""

    identify_threshold: float = 0.5
    """The winning primary type's probability from which a cell counts as identified."""

    leaf_threshold: float = 0.6
    """The share of its primary type's probability that a leaf needs to be reported."""

    ood_limit: float | None = None
    """The out-of-distribution score above which a cell is unidentified."""

    disagreement_limit: float | None = None
    """The disagreement of the members above which a cell is unidentified; None for a single network."""

    accuracy: float = 0.0
    """Share of the validation crops whose primary type is right, without abstention."""

    ece: float = 0.0
    """Expected calibration error of the primary type, 15 bins of equal width."""

    identified_accuracy: float = 0.0
    """Accuracy among the identified."""

    unidentified_share: float = 0.0
    unidentified_by: dict[str, float] = Field(default_factory=dict)
    """Share of the crops that each reason, by its `UnidentifiedReason`, leaves unidentified; some have several."""


class SourceFigures(BaseModel):
    """A network, with the thresholds that it is served with, on the crops of another laboratory."""

    primary: ScoreFigures
    """The primary types of all crops, without abstention."""

    never_seen: bool = False
    """Whether no image of this laboratory took part in the training; then both sides of its set are measured."""

    unidentified_share: float
    identified_accuracy: float
    """Accuracy among the identified; 0 when there are none."""

    identified_accuracy_ci95: Interval
    """Exact (Clopper-Pearson) limits."""

    ece: float
    """Expected calibration error of the primary type, 15 bins of equal width."""


class ClassifierFigures(CalibrationFigures, Figures):
    """A classifier, or the ensemble's vote, on the validation crops."""

    energy_mean: float = 0.0
    """Of the network's free energies over the calibration crops; with the next, they standardise its score."""

    energy_deviation: float = 1.0
    """Standard deviation of the same."""

    subsets: dict[str, CalibrationFigures] = Field(default_factory=dict)
    """The ensemble's vote over some of its members, by their names joined with ``+``."""

    calibration_crops: int = 0
    crops: int = 0
    leaf_accuracy: float = 0.0
    """Share right among the crops labelled with a leaf, over all leaves."""

    ece_uncalibrated: float = 0.0
    reported_leaf_accuracy: float = 0.0
    """Accuracy among the leaves that pass `leaf_threshold`, of the subtyped primary types."""

    reported_leaf_share: float = 0.0
    types: dict[str, TypeFigures] = Field(default_factory=dict)
    primary: ScoreFigures | None = None
    """The primary types of all crops, without abstention."""

    leaf: ScoreFigures | None = None
    """The leaf types of the crops labelled with a leaf, without abstention."""

    reliability: list[ReliabilityBin] = Field(default_factory=list)
    """The calibrated probability of the primary type against its accuracy, 15 bins of equal width."""

    sources: dict[str, SourceFigures] = Field(default_factory=dict)
    """By the name of the set: ``bccd`` is its validation side, or all of it for networks that never saw any of it."""

    training: TrainingRun | None = None


class ScreenFigures(Figures):
    """A screening network on the validation images: fields, or crops labelled by their field."""

    temperature: float = 1.0
    """Divides the logits."""

    flag_threshold: float = 0.5
    """Probability of anything but benign from which an image is flagged."""

    calibration_images: int = 0
    scores: ScoreFigures | None = None
    """All classes, by the most probable one."""

    sensitivity: float = 0.0
    """Share flagged of the images that are not benign."""

    sensitivity_ci95: Interval = (0.0, 1.0)
    specificity: float = 0.0
    """Share not flagged of the benign images."""

    specificity_ci95: Interval = (0.0, 1.0)
    auroc: float = 0.0
    """Area under the receiver operating characteristic of the probability of anything but benign."""

    ece: float = 0.0
    """Expected calibration error of the most probable class, 15 bins of equal width."""

    reliability: list[ReliabilityBin] = Field(default_factory=list)
    training: TrainingRun | None = None


def describe_recipe(recipe: Any) -> dict[str, str]:
    """A recipe's settings as text, for the figures and the model card.

    Args:
        recipe: an instance of a dataclass; fields that are no plain values, or are empty, are left out.
    """
    described = {}
    for field in dataclasses.fields(recipe):
        value = getattr(recipe, field.name)
        if isinstance(value, frozenset):
            value = ", ".join(sorted(value))
        if isinstance(value, str | int | float) and value != "":
            described[field.name] = str(value)
    return described
