"""Two versions of a model side by side, and which of them answers for a smear.

A version is a model of its own in Triton's repository, `xception-2` beside `xception`, with its own file, digest,
thresholds and calibration. The rollout file says which of them answer those who ask for `xception`:

    {
      "format": "hemaserve.rollout.v1",
      "models": {
        "xception": {"stable": "xception", "candidate": "xception-2", "share": 0.1, "shadow_share": 1.0}
      }
    }
"""

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

MAX_BYTES: Final = 64 * 1024
"""Largest file that is read."""

MAX_MODELS: Final = 16
"""Most models in it: each is some rows in metrics."""

_Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class UnusableRolloutFile(ValueError):
    """A rollout file that cannot be used; the message names the member and what is allowed."""


class Rollout(BaseModel):
    """Which versions answer those who ask for one model."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, strict=True)

    stable: _Name | None = None
    """The version that answers. Default: the model itself."""

    candidate: _Name | None = None
    """The version that is tried. Default: none."""

    share: _Share = 0.0
    """Share of the smears that the candidate answers."""

    shadow_share: _Share = 0.0
    """Share of the others in which the candidate is asked too, and its answers are compared and not returned."""

    @model_validator(mode="after")
    def _has_whom_it_shares_with(self) -> Self:
        if self.candidate is None and (self.share or self.shadow_share):
            raise ValueError("candidate is missing, and a share is given")
        return self


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format: Literal["hemaserve.rollout.v1"]
    models: dict[_Name, Rollout] = Field(default_factory=dict, max_length=MAX_MODELS)

    @model_validator(mode="after")
    def _candidates_are_others(self) -> Self:
        for name, rollout in self.models.items():
            if rollout.candidate == (rollout.stable or name):
                raise ValueError(f"models.{name}.candidate is the stable version itself")
        return self


@dataclass(frozen=True, slots=True)
class Assignment:
    """Who answers.

    Attributes:
        model: name of the version that answers.
        shadow: name of the version that is asked too, and whose answers are compared; empty for none.
    """

    model: str
    shadow: str = ""


@dataclass(frozen=True, slots=True)
class Rollouts:
    """What a rollout file says: versions by the name of the model that requests ask for."""

    models: Mapping[str, Rollout] = field(default_factory=dict)

    def versions(self, model: str) -> tuple[str, ...]:
        """Those that may answer who asks for `model`, the stable one first."""
        rollout = self.models.get(model, Rollout())
        return (rollout.stable or model, *([rollout.candidate] if rollout.candidate else ()))

    def assigned(self, model: str, smear: str) -> Assignment:
        """Who answers for a smear.

        The same smear gets the same answer for as long as the file says the same, and when a share grows, no smear
        goes back. For each candidate it is other smears.

        Args:
            model: the one that is asked for.
            smear: what all that belongs to the smear has in common, and no other has; empty for what belongs to none,
                which the candidate never answers: nobody could tell what it belongs together with.
        """
        stable, *tried = self.versions(model)
        if not tried:
            return Assignment(stable)
        (candidate,), rollout = tried, self.models[model]
        if smear and _place(smear, f"answer/{model}/{candidate}") < rollout.share:
            return Assignment(candidate)
        # Where there is no smear to keep together, any one will do.
        place = _place(smear, f"shadow/{model}/{candidate}") if smear else random.random()  # noqa: S311
        return Assignment(stable, candidate if place < rollout.shadow_share else "")


def _place(smear: str, salt: str) -> float:
    """Where a smear stands among all smears, evenly from 0 to below 1."""
    digest = hashlib.sha256(f"{salt}/{smear}".encode()).digest()
    # As many bits as a float64 holds: more of them could round up to 1.
    return (int.from_bytes(digest[:8]) >> 11) / 2**53


def read(path: Path) -> Rollouts:
    """What a rollout file says.

    Raises:
        OSError: it cannot be read.
        UnusableRolloutFile: it is not one.
    """
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise UnusableRolloutFile(f"the rollout file is larger than {MAX_BYTES} bytes")
    try:
        found = _File.model_validate_json(content)
    except ValidationError as error:
        wrong = (
            f"{'.'.join(map(str, one['loc'])) or 'the file'}: {one['msg'].removeprefix('Value error, ')}"
            for one in error.errors(include_url=False, include_input=False)
        )
        raise UnusableRolloutFile("; ".join(wrong)) from None
    return Rollouts(found.models)
