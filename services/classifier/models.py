"""What a classification network says of itself: Triton's configuration of it, parsed and checked."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from hemaserve.cells import CellType
from hemaserve.imaging import PREPROCESSING_VERSION
from services.classifier.decision import Thresholds
from services.triton.client import ModelDescription

TASK = "classification"
CROPS_INPUT = "crops"
PROBABILITIES_OUTPUT = "probabilities"


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
        members: names of the networks that vote, when it is an ensemble.
        vote_temperature: the ensemble's calibration; None for single networks, and for an ensemble that Triton
            does not have, so that its calibration is not known.
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
    members: tuple[str, ...] = ()
    vote_temperature: float | None = None


class UnusableModelError(Exception):
    """A model's configuration is none that this service can use. For the log, not for callers."""


def _split(value: Any) -> Any:
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


def _same_preprocessing(version: str) -> str:
    if version != PREPROCESSING_VERSION:
        raise ValueError(f"trained on preprocessing {version}, served {PREPROCESSING_VERSION}")
    return version


_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class _Parameters(BaseModel):
    """The `parameters` of a classification model's config.pbtxt."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    task: Literal["classification"]
    title: str
    licence: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    preprocessing_version: Annotated[str, AfterValidator(_same_preprocessing)]
    leaf_types: Annotated[tuple[CellType, ...], BeforeValidator(_split)] = Field(min_length=2)
    crop_margin: float = Field(ge=0, allow_inf_nan=False)
    identify_threshold: _Share
    leaf_threshold: _Share
    members: Annotated[tuple[str, ...], BeforeValidator(_split)] = ()
    vote_temperature: float | None = Field(default=None, gt=0, allow_inf_nan=False)


def is_classification(description: ModelDescription) -> bool:
    """Whether a model that Triton has claims to name cells."""
    return description.parameters.get("task") == TASK


def parse_model(description: ModelDescription) -> ClassificationModel:
    """A classification model from Triton's configuration of it.

    Raises:
        UnusableModelError: a parameter is missing or wrong, or inputs and outputs do not match it.
    """
    try:
        parameters = _Parameters.model_validate(dict(description.parameters))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise UnusableModelError(wrong) from None
    if parameters.members and parameters.vote_temperature is None:
        raise UnusableModelError("vote_temperature: an ensemble needs it")
    outputs = {output.name: output.dims for output in description.outputs}
    for name in (PROBABILITIES_OUTPUT, *map(member_output, parameters.members)):
        if outputs.get(name) != (len(parameters.leaf_types),):
            raise UnusableModelError(f"output {name}: expected [{len(parameters.leaf_types)}]")
    return ClassificationModel(
        name=description.name,
        version=description.version,
        title=parameters.title,
        licence=parameters.licence,
        sha256=parameters.sha256,
        leaf_types=parameters.leaf_types,
        crop_size_px=_crop_size(description),
        crop_margin=parameters.crop_margin,
        max_batch_size=max(description.max_batch_size, 1),
        thresholds=Thresholds(parameters.identify_threshold, parameters.leaf_threshold),
        members=parameters.members,
        vote_temperature=parameters.vote_temperature if parameters.members else None,
    )


def member_output(member: str) -> str:
    """The ensemble's output with what `member` said."""
    return f"{member}_{PROBABILITIES_OUTPUT}"


def _crop_size(description: ModelDescription) -> int:
    match [(entry.name, entry.dtype, entry.dims) for entry in description.inputs]:
        case [(name, "UINT8", (height, width, 3))] if name == CROPS_INPUT and height == width > 0:
            return height
    raise UnusableModelError(f"inputs: expected one, {CROPS_INPUT}, UINT8 [size, size, 3]")
