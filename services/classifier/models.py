"""What a classification network says of itself: Triton's configuration of it, parsed and checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from hemaserve.cells import CellType
from services.classifier.decision import Thresholds
from services.classifier.parameters import (
    Names,
    NetworkParameters,
    Share,
    UnusableModelError,
    split,
    square_side,
    validated,
)
from services.triton.descriptions import ModelDescription

TASK = "classification"
CROPS_INPUT = "crops"
PROBABILITIES_OUTPUT = "probabilities"
OOD_SCORE_OUTPUT = "ood_score"
EVIDENCE_OUTPUT = "evidence"

_VOTE_TASK = "vote"
_SUBSET_PREFIX = "subset."


@dataclass(frozen=True, slots=True)
class Vote:
    """How the vote of some members is calibrated, see `hemaserve.voting.vote`, and when it counts."""

    temperature: float
    thresholds: Thresholds


Votes = Mapping[tuple[str, ...], Vote]
"""The calibrated votes of an ensemble, by the members that take part, in the ensemble's order."""


@dataclass(frozen=True, slots=True)
class ClassificationModel:
    """A network that names cells, or an ensemble of such networks.

    Attributes:
        name: name in requests and in Triton.
        version: version as Triton knows it; empty for an ensemble that Triton does not have.
        title: what people call it.
        licence: SPDX identifier.
        sha256: of the network's file, lower-case hexadecimal; empty for an ensemble that Triton does not have.
        leaf_types: what it can answer, in the order of its outputs.
        crop_size_px: side of the square crops that it takes.
        crop_margin: margin around a cell's box, as a share of the box's longer side on each side.
        max_batch_size: most crops that Triton takes in one request.
        thresholds: when it commits itself.
        scores_ood: whether it says how far a crop is from what it learned from.
        evidence_grid: rows and columns of the places whose evidence it gives, see `explanation`; None when it gives
            none.
        members: names of the networks that vote, when it is an ensemble.
        votes: the votes of all members, and of those subsets of them that somebody has calibrated.
        loaded: False for an ensemble that Triton does not have, so that its members have to answer for it.
    """

    name: str
    version: str
    title: str
    licence: str
    sha256: str
    leaf_types: tuple[CellType, ...]
    crop_size_px: int
    crop_margin: float
    max_batch_size: int
    thresholds: Thresholds
    scores_ood: bool = False
    evidence_grid: tuple[int, int] | None = None
    members: tuple[str, ...] = ()
    votes: Votes = field(default_factory=dict)
    loaded: bool = True


class _Thresholds(BaseModel):
    """When a network or a vote commits itself, as `parameters` of a config.pbtxt."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    identify_threshold: Share
    leaf_threshold: Share
    ood_limit: float | None = Field(default=None, allow_inf_nan=False)
    disagreement_limit: Share | None = None

    def thresholds(self) -> Thresholds:
        return Thresholds(
            self.identify_threshold, self.leaf_threshold, self.ood_limit, self.disagreement_limit
        )


class _Vote(_Thresholds):
    """The parameters of one vote."""

    vote_temperature: float = Field(gt=0, allow_inf_nan=False)


class _Parameters(NetworkParameters, _Thresholds):
    """The `parameters` of a classification model's config.pbtxt."""

    task: Literal["classification"]
    leaf_types: Annotated[tuple[CellType, ...], BeforeValidator(split)] = Field(min_length=2)
    crop_margin: float = Field(ge=0, allow_inf_nan=False)
    members: Names = ()


def is_classification(description: ModelDescription) -> bool:
    """Whether a model that Triton has claims to name cells."""
    return description.parameters.get("task") == TASK


def parse_model(description: ModelDescription) -> ClassificationModel:
    """A classification model from Triton's configuration of it.

    Raises:
        UnusableModelError: a parameter is missing or wrong, or inputs and outputs do not match it.
    """
    parameters = validated(_Parameters, description.parameters)
    votes = _votes(description.parameters, parameters.members) if parameters.members else {}
    outputs = {output.name: output.dims for output in description.outputs}
    for name in (PROBABILITIES_OUTPUT, *map(member_output, parameters.members)):
        if outputs.get(name) != (len(parameters.leaf_types),):
            raise UnusableModelError(f"output {name}: expected [{len(parameters.leaf_types)}]")
    scores_ood = OOD_SCORE_OUTPUT in outputs
    if scores_ood and outputs[OOD_SCORE_OUTPUT] != (1,):
        raise UnusableModelError(f"output {OOD_SCORE_OUTPUT}: expected [1]")
    if parameters.ood_limit is not None and not scores_ood:
        raise UnusableModelError(f"ood_limit: there is no output {OOD_SCORE_OUTPUT} to hold against it")
    return ClassificationModel(
        name=description.name,
        version=description.version,
        title=parameters.title,
        licence=parameters.licence,
        sha256=parameters.sha256,
        leaf_types=parameters.leaf_types,
        crop_size_px=square_side(description, CROPS_INPUT),
        crop_margin=parameters.crop_margin,
        max_batch_size=max(description.max_batch_size, 1),
        thresholds=parameters.thresholds(),
        scores_ood=scores_ood,
        evidence_grid=_evidence_grid(outputs, len(parameters.leaf_types)),
        members=parameters.members,
        votes=votes,
    )


def _evidence_grid(outputs: Mapping[str, tuple[int, ...]], leaves: int) -> tuple[int, int] | None:
    if EVIDENCE_OUTPUT not in outputs:
        return None
    match outputs[EVIDENCE_OUTPUT]:
        case (found, height, width) if found == leaves and height > 0 and width > 0:
            return height, width
    raise UnusableModelError(f"output {EVIDENCE_OUTPUT}: expected [{leaves}, height, width]")


def is_vote(description: ModelDescription) -> bool:
    """Whether a model that Triton has is a vote that says how it is calibrated; not all do."""
    parameters = description.parameters
    return parameters.get("task") == _VOTE_TASK and "identify_threshold" in parameters


def parse_vote(description: ModelDescription) -> Votes:
    """The calibrated votes that a vote, the last step of an ensemble, knows of.

    Raises:
        UnusableModelError: a parameter is missing or wrong.
    """
    return _votes(description.parameters, split(description.parameters.get("members", "")))


def _votes(parameters: Mapping[str, str], members: tuple[str, ...]) -> Votes:
    """Of all members, and of each subset that parameters ``subset.A+B.KEY`` are about."""
    by_subset: dict[str, dict[str, str]] = {"+".join(members): dict(parameters)}
    for key, value in parameters.items():
        if key.startswith(_SUBSET_PREFIX):
            name, _, part = key.removeprefix(_SUBSET_PREFIX).rpartition(".")
            by_subset.setdefault(name, {})[part] = value
    return {
        _subset(name, members): Vote(vote.vote_temperature, vote.thresholds())
        for name, vote in ((name, validated(_Vote, found)) for name, found in by_subset.items())
    }


def _subset(name: str, members: tuple[str, ...]) -> tuple[str, ...]:
    named = set(name.split("+"))
    if not named <= set(members):
        raise UnusableModelError(f"{_SUBSET_PREFIX}{name}: not all of them are members")
    return tuple(member for member in members if member in named)


def member_output(member: str) -> str:
    """The ensemble's output with what `member` said."""
    return f"{member}_{PROBABILITIES_OUTPUT}"
