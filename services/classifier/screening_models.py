"""What a network of the leukemia screen says of itself: Triton's configuration of it, parsed and checked."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from pydantic import Field, model_validator

from services.classifier.parameters import (
    Names,
    NetworkParameters,
    Share,
    UnusableModelError,
    square_side,
    validated,
)
from services.triton.descriptions import ModelDescription

PROBABILITIES_OUTPUT = "probabilities"


class ScreenTask(StrEnum):
    """What a screening network looks at."""

    FIELD = "screen_field"
    CELL = "screen_cell"

    @property
    def input_name(self) -> str:
        """What such a network calls its input."""
        return "fields" if self is ScreenTask.FIELD else "crops"


@dataclass(frozen=True, slots=True)
class ScreeningModel:
    """A network of the leukemia screen.

    Attributes:
        name: name in Triton.
        version: version as Triton knows it.
        title: what people call it.
        licence: SPDX identifier.
        sha256: of the network's file, lower-case hexadecimal.
        task: what it looks at.
        classes: what it tells apart, in the order of its outputs.
        flag_classes: those of the classes that flag.
        flag_threshold: least probability of these together for a flag, 0 to 1.
        input_px: side of the square images that it takes.
        crop_margin: margin around a cell's box, as a share of the box's longer side on each side; 0 for fields.
        max_batch_size: most images that Triton takes in one request.
    """

    name: str
    version: str
    title: str
    licence: str
    sha256: str
    task: ScreenTask
    classes: tuple[str, ...]
    flag_classes: tuple[str, ...]
    flag_threshold: float
    input_px: int
    crop_margin: float
    max_batch_size: int


class _Parameters(NetworkParameters):
    """The `parameters` of a screening network's config.pbtxt."""

    task: ScreenTask
    classes: Names = Field(min_length=2)
    flag_classes: Names = Field(min_length=1)
    flag_threshold: Share
    crop_margin: float | None = Field(default=None, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes: each only once")
        # A network whose every class flags, or none, would tell nothing.
        if not set(self.flag_classes) < set(self.classes):
            raise ValueError("flag_classes: some of the classes, not all, and nothing else")
        if self.task is ScreenTask.CELL and self.crop_margin is None:
            raise ValueError("crop_margin: a network of crops needs it")
        return self


def parse_screening_model(description: ModelDescription, task: ScreenTask) -> ScreeningModel:
    """A screening network from Triton's configuration of it.

    Raises:
        UnusableModelError: a parameter is missing or wrong, it is for another task, or inputs and outputs do not match.
    """
    parameters = validated(_Parameters, description.parameters)
    if parameters.task is not task:
        raise UnusableModelError(f"task: expected {task}")
    outputs = {output.name: output.dims for output in description.outputs}
    if outputs.get(PROBABILITIES_OUTPUT) != (len(parameters.classes),):
        raise UnusableModelError(f"output {PROBABILITIES_OUTPUT}: expected [{len(parameters.classes)}]")
    return ScreeningModel(
        name=description.name,
        version=description.version,
        title=parameters.title,
        licence=parameters.licence,
        sha256=parameters.sha256,
        task=task,
        classes=parameters.classes,
        flag_classes=parameters.flag_classes,
        flag_threshold=parameters.flag_threshold,
        input_px=square_side(description, task.input_name),
        crop_margin=parameters.crop_margin or 0.0,
        max_batch_size=max(description.max_batch_size, 1),
    )
