"""What the configurations of all networks of this service have in common: how their parameters are written."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from hemaserve.imaging import PREPROCESSING_VERSION
from services.triton.descriptions import ModelDescription

_Parameters = TypeVar("_Parameters", bound=BaseModel)


class UnusableModelError(Exception):
    """A model's configuration is none that this service can use. For the log, not for callers."""


def split(value: Any) -> Any:
    """The parts of a text between its commas; anything else as it is."""
    return (
        tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
    )


def _same_preprocessing(version: str) -> str:
    if version != PREPROCESSING_VERSION:
        raise ValueError(f"trained on preprocessing {version}, served {PREPROCESSING_VERSION}")
    return version


Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""A number from 0 to 1."""

Names = Annotated[tuple[str, ...], BeforeValidator(split)]
"""Words separated by commas."""


class NetworkParameters(BaseModel):
    """The `parameters` that every network's config.pbtxt has."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    title: str
    licence: str
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    preprocessing_version: Annotated[str, AfterValidator(_same_preprocessing)]


def validated(kind: type[_Parameters], parameters: Mapping[str, str]) -> _Parameters:
    """The parameters of a model, checked.

    Raises:
        UnusableModelError: one is missing or wrong.
    """
    try:
        return kind.model_validate(dict(parameters))
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise UnusableModelError(wrong) from None


def square_side(description: ModelDescription, name: str) -> int:
    """Side of the square images that a model takes as its only input, in pixels.

    Raises:
        UnusableModelError: it takes something else, or under another name.
    """
    match [(entry.name, entry.dtype, entry.dims) for entry in description.inputs]:
        case [(found, "UINT8", (height, width, 3))] if found == name and height == width > 0:
            return height
    raise UnusableModelError(f"inputs: expected one, {name}, UINT8 [size, size, 3]")
