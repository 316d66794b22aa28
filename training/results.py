"""The figures of each network: what calibration and evaluation find out, and export and the cards need.

One JSON file per network in ``training/results``, committed next to the code that made it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field

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


class ClassifierFigures(Figures):
    """A classifier, or the ensemble's vote, on the validation crops."""

    temperature: float = 1.0
    """Divides the logits (a network) or is the root taken of the mean probability (the vote)."""

    identify_threshold: float = 0.5
    """The winning primary type's probability from which a cell counts as identified."""

    leaf_threshold: float = 0.6
    """The share of its primary type's probability that a leaf needs to be reported."""

    calibration_crops: int = 0
    crops: int = 0
    accuracy: float = 0.0
    """Share of the crops whose primary type is right, without abstention."""

    leaf_accuracy: float = 0.0
    """Share right among the crops labelled with a leaf, over all leaves."""

    ece_uncalibrated: float = 0.0
    ece: float = 0.0
    """Expected calibration error of the primary type, 15 bins of equal width."""

    identified_accuracy: float = 0.0
    """Accuracy among the identified."""

    unidentified_share: float = 0.0
    reported_leaf_accuracy: float = 0.0
    """Accuracy among the leaves that pass `leaf_threshold`, of the subtyped primary types."""

    reported_leaf_share: float = 0.0
    types: dict[str, TypeFigures] = Field(default_factory=dict)
    training: TrainingRun | None = None
