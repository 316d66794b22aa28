"""What Triton is told of the classifiers, the vote and the ensemble; their `parameters` are what the services know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from hemaserve.cells import LEAF_TYPES
from hemaserve.imaging import PREPROCESSING_VERSION
from training.ensemble import Ensemble, proper_subsets, subset_name
from training.results import CalibrationFigures, ClassifierFigures
from training.triton_config import EnsembleStep, ModelSpec, TensorSpec
from training.vote_graph import vote_inputs

#: Most crops in one request.
BATCH: Final = 64

PROBABILITIES: Final = TensorSpec("probabilities", "TYPE_FP32", (len(LEAF_TYPES),))
OOD_SCORE: Final = TensorSpec("ood_score", "TYPE_FP32", (1,))

#: Name of the output that tells what each place of a crop adds to each logit.
EVIDENCE: Final = "evidence"


@dataclass(frozen=True, slots=True)
class CropSpec:
    """What crops a network takes: their side in pixels, and the margin around the cell's box."""

    size: int
    margin: float

    @property
    def tensor(self) -> TensorSpec:
        return TensorSpec("crops", "TYPE_UINT8", (self.size, self.size, 3))


def network_spec(
    figures: ClassifierFigures, title: str, digest: str, crops: CropSpec, places: tuple[int, int]
) -> ModelSpec:
    """A single network.

    Args:
        places: rows and columns of its evidence.
    """
    parameters = _parameters(figures, title, digest, crops)
    evidence = TensorSpec(EVIDENCE, "TYPE_FP32", (len(LEAF_TYPES), *places))
    return ModelSpec(figures.name, BATCH, (crops.tensor,), (PROBABILITIES, OOD_SCORE, evidence), parameters)


def vote_spec(figures: ClassifierFigures, ensemble: Ensemble, digest: str) -> ModelSpec:
    """The vote over the members.

    It carries the calibration as well, because the services cannot read the ensemble's while Triton lacks a member.

    Raises:
        ValueError: it was calibrated for other members.
    """
    opinions, scores = vote_inputs(ensemble.members)
    inputs = (
        *(TensorSpec(name, PROBABILITIES.data_type, PROBABILITIES.dims) for name in opinions),
        *(TensorSpec(name, OOD_SCORE.data_type, OOD_SCORE.dims) for name in scores),
    )
    calibration = _calibration(figures, ensemble.members)
    parameters = {"task": "vote", **calibration, "sha256": digest, "licence": "Apache-2.0"}
    return ModelSpec(ensemble.vote, BATCH, inputs, (PROBABILITIES, OOD_SCORE), parameters)


def ensemble_spec(figures: ClassifierFigures, ensemble: Ensemble, digest: str, crops: CropSpec) -> ModelSpec:
    """The ensemble, which runs the members side by side and then the vote.

    Args:
        digest: of the vote's file.

    Raises:
        ValueError: the vote was calibrated for other members.
    """
    parameters = _parameters(figures, ensemble.title, digest, crops)
    parameters |= _calibration(figures, ensemble.members)
    opinions = (TensorSpec(_opinion(member), "TYPE_FP32", PROBABILITIES.dims) for member in ensemble.members)
    outputs = (PROBABILITIES, *opinions, OOD_SCORE)
    scores = tuple(replace(OOD_SCORE, name=_score(member)) for member in ensemble.members)
    steps = _steps(ensemble, crops)
    return ModelSpec(ensemble.name, BATCH, (crops.tensor,), outputs, parameters, steps, inner=scores)


def _opinion(member: str) -> str:
    """The ensemble's tensor with what a member says."""
    return f"{member}_probabilities"


def _score(member: str) -> str:
    """The ensemble's tensor with a member's out-of-distribution score."""
    return f"{member}_ood_score"


def _steps(ensemble: Ensemble, crops: CropSpec) -> tuple[EnsembleStep, ...]:
    said = [(_opinion(member), _score(member)) for member in ensemble.members]
    pixels = {crops.tensor.name: crops.tensor.name}
    asked = (
        EnsembleStep(member, pixels, {PROBABILITIES.name: opinion, OOD_SCORE.name: score})
        for member, (opinion, score) in zip(ensemble.members, said, strict=True)
    )
    inputs = [name for names in vote_inputs(ensemble.members) for name in names]
    tensors = [*(opinion for opinion, _ in said), *(score for _, score in said)]
    answers = {tensor.name: tensor.name for tensor in (PROBABILITIES, OOD_SCORE)}
    return (*asked, EnsembleStep(ensemble.vote, dict(zip(inputs, tensors, strict=True)), answers))


def _parameters(figures: ClassifierFigures, title: str, digest: str, crops: CropSpec) -> dict[str, str]:
    return {
        "task": "classification",
        "title": title,
        "leaf_types": ",".join(LEAF_TYPES),
        "crop_margin": repr(crops.margin),
        "preprocessing_version": PREPROCESSING_VERSION,
        **_thresholds(figures),
        "temperature": repr(round(figures.temperature, 6)),
        "sha256": digest,
        "licence": "Apache-2.0",
    }


def _calibration(figures: ClassifierFigures, members: Sequence[str]) -> dict[str, str]:
    """How the vote of all members, and of each proper subset of them, is calibrated and when it counts."""
    subsets = [subset_name(subset) for subset in proper_subsets(members)]
    if sorted(subsets) != sorted(figures.subsets):
        raise ValueError(
            f"the vote of {', '.join(members)} is not calibrated: run calibrate and evaluate again"
        )
    parameters = {"members": ",".join(members), **_vote(figures)}
    for subset in subsets:
        of_subset = _vote(figures.subsets[subset])
        parameters |= {f"subset.{subset}.{key}": value for key, value in of_subset.items()}
    return parameters


def _vote(figures: CalibrationFigures) -> dict[str, str]:
    return {"vote_temperature": repr(round(figures.temperature, 6)), **_thresholds(figures)}


def _thresholds(figures: CalibrationFigures) -> dict[str, str]:
    chosen = {
        "identify_threshold": figures.identify_threshold,
        "leaf_threshold": figures.leaf_threshold,
        "ood_limit": figures.ood_limit,
        "disagreement_limit": figures.disagreement_limit,
    }
    return {key: repr(value) for key, value in chosen.items() if value is not None}
