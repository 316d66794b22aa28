"""What a stack is made of, by the name of its profile: networks, when they are loaded, and processes."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

TRITON: Final = "triton"
SERVICES: Final = ("detector", "classifier", "gateway")
"""Those who call come behind those whom they call."""


class ProfileName(StrEnum):
    """What `hemaserve up --profile` takes."""

    TINY = "tiny"
    DEFAULT = "default"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Profile:
    """What one profile's stack is made of.

    Attributes:
        name: what people call it.
        detector: detection network for requests that name none.
        classifier: classification network for requests that name none.
        members: the members of that network, where it is an ensemble.
        models: networks to load at the start, of which an ensemble brings its members; empty for all there are.
        load_on_request: whether the other networks of the repository are loaded when first asked for.
        processes: the parts of the stack (Triton and the services), those together that share a process.
        triton_config: which of each network's configs/<name>.pbtxt Triton takes.
        lean: whether Triton is to take little memory rather than little time.
        in_flight: fields of a smear, and batches of a field, that are on their way at one time; None leaves it to the
            services.
    """

    name: ProfileName
    detector: str
    classifier: str
    members: tuple[str, ...]
    models: tuple[str, ...]
    load_on_request: bool
    processes: tuple[tuple[str, ...], ...]
    triton_config: str
    lean: bool
    in_flight: int | None = None


_APART: Final = tuple((part,) for part in (TRITON, *SERVICES))
_TOGETHER: Final = ((TRITON, *SERVICES),)

_TINY: Final = Profile(
    name=ProfileName.TINY,
    detector="yolov5n",
    classifier="xception",
    members=(),
    models=("xception", "yolov5n"),
    load_on_request=False,
    processes=_TOGETHER,
    triton_config="tiny",
    lean=True,
    # One instance of each network: two keep both at work, and each one more is memory.
    in_flight=2,
)
_DEFAULT: Final = Profile(
    name=ProfileName.DEFAULT,
    detector="yolov8n",
    classifier="ensemble",
    members=("efficientnet", "xception"),
    models=("ensemble", "yolov8n"),
    load_on_request=True,
    processes=_APART,
    triton_config="embedded",
    lean=False,
)
_FULL: Final = Profile(
    name=ProfileName.FULL,
    detector=_DEFAULT.detector,
    classifier=_DEFAULT.classifier,
    members=_DEFAULT.members,
    models=(),
    load_on_request=True,
    processes=_APART,
    triton_config="embedded",
    lean=False,
)

PROFILES: Final[Mapping[ProfileName, Profile]] = MappingProxyType(
    {profile.name: profile for profile in (_TINY, _DEFAULT, _FULL)}
)
"""Profiles by name."""
