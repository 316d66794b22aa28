"""The detection networks that Triton has, as their configurations describe them."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Self

import structlog

from hemaserve.cells import Kind
from hemaserve.errors import FailedPrecondition, NotFound
from hemaserve.imaging import PREPROCESSING_VERSION
from hemaserve.results import ModelTask
from services.triton.client import TritonClient
from services.triton.descriptions import ModelDescription
from services.triton.metrics import ModelMetrics
from services.triton.naming import no_such_model, task_by_name

_log = structlog.get_logger(__name__)

TASK: Final = ModelTask.DETECTION
INPUT: Final = "images"
OUTPUT: Final = "predictions"


@dataclass(frozen=True, slots=True)
class DetectionModel:
    """A detection network.

    Attributes:
        name: its name in Triton and in requests.
        version: as Triton knows it.
        sha256: digest of its file.
        title: what people call it.
        licence: SPDX identifier.
        kinds: what its rows of scores stand for, in order.
        score_thresholds: the least score to report, for each kind.
        nms_iou: boxes of one kind that overlap by more than this are one object.
        input_px: side of the square that it takes.
        max_batch_size: most squares in one request.
    """

    name: str
    version: str
    sha256: str
    title: str
    licence: str
    kinds: tuple[Kind, ...]
    score_thresholds: Mapping[Kind, float]
    nms_iou: float
    input_px: int
    max_batch_size: int

    @classmethod
    def from_description(cls, description: ModelDescription) -> Self:
        """The network that a configuration in Triton describes.

        Raises:
            ValueError: the configuration does not describe a detection network that this service can use.
        """
        parameters = description.parameters
        if (made_for := parameters.get("preprocessing_version")) != PREPROCESSING_VERSION:
            raise ValueError(f"preprocessing_version is {made_for!r}, not {PREPROCESSING_VERSION!r}")
        kinds = tuple(Kind(kind.strip()) for kind in _required(parameters, "kinds").split(","))
        return cls(
            name=description.name,
            version=description.version,
            sha256=parameters.get("sha256", ""),
            title=parameters.get("title", description.name),
            licence=parameters.get("licence", ""),
            kinds=kinds,
            score_thresholds=MappingProxyType(
                {kind: _share(parameters, f"score_threshold.{kind.value}") for kind in kinds}
            ),
            nms_iou=_share(parameters, "nms_iou"),
            input_px=_input_px(description),
            max_batch_size=max(1, description.max_batch_size),
        )


def _required(parameters: Mapping[str, str], key: str) -> str:
    if key not in parameters:
        raise ValueError(f"parameter {key} is missing")
    return parameters[key]


def _share(parameters: Mapping[str, str], key: str) -> float:
    value = float(_required(parameters, key))
    if not (math.isfinite(value) and 0 < value <= 1):
        raise ValueError(f"parameter {key} must be above 0 and at most 1, is {value}")
    return value


def _input_px(description: ModelDescription) -> int:
    dims: Sequence[int] = next((port.dims for port in description.inputs if port.name == INPUT), ())
    match tuple(dims):
        case (height, width, 3) if height == width > 0:
            return int(height)
        case _:
            raise ValueError(f"input {INPUT} must be of dims [side, side, 3], is {list(dims)}")


class ModelCatalog:
    """What Triton has for this task, remembered for a while.

    Args:
        triton: where to ask.
        default: the model for requests that name none.
        refresh_s: how long an answer is believed, in seconds.
        metrics: where their versions are shown.
    """

    def __init__(
        self, triton: TritonClient, *, default: str, refresh_s: float, metrics: ModelMetrics | None = None
    ) -> None:
        self._triton = triton
        self._metrics = metrics or ModelMetrics()
        self._refresh_s = refresh_s
        self._known: dict[str, tuple[float, DetectionModel]] = {}
        self.default = default

    async def get(self, name: str) -> DetectionModel:
        """The detection model called `name`; the default one for an empty name.

        Raises:
            NotFound: there is none; the message lists those that there are.
            FailedPrecondition: it is there but its configuration is not one that this service can use.
            Unavailable: Triton does not answer.
        """
        name = name or self.default
        asked, model = self._known.get(name, (-math.inf, None))
        if model is not None and time.monotonic() - asked < self._refresh_s:
            return model
        try:
            description = await self._triton.model_config(name)
        except NotFound:
            # A network that is of no use here would stay loaded.
            usable = name == self.default or task_by_name(name) is TASK
            if not usable or not await self._triton.load(name):
                raise await self._not_found(name) from None
            description = await self._triton.model_config(name)
        if description.parameters.get("task") != TASK:
            raise await self._not_found(name)
        return self._remember(description)

    async def all(self) -> list[DetectionModel]:
        """The detection models that can be used, by name; broken ones are left out and logged."""
        found = []
        for name in sorted(await self._triton.models()):
            try:
                description = await self._triton.model_config(name)
                if description.parameters.get("task") == TASK:
                    found.append(self._remember(description))
            except (NotFound, FailedPrecondition):
                continue
        return found

    async def ready(self, name: str) -> bool:
        """Whether Triton would answer an inference of this model at this moment."""
        return await self._triton.ready(name)

    def _remember(self, description: ModelDescription) -> DetectionModel:
        try:
            model = DetectionModel.from_description(description)
        except ValueError as error:
            _log.error("unusable_model", model=description.name, problem=str(error))
            raise FailedPrecondition(
                f"the configuration of model {description.name} is not one that this service can use",
                reason="MODEL_UNUSABLE",
            ) from error
        self._known[model.name] = (time.monotonic(), model)
        self._metrics.seen([(model.name, model.version, model.sha256)])
        return model

    async def _not_found(self, name: str) -> NotFound:
        loaded = [model.name for model in await self.all()]
        return no_such_model(name, TASK, loaded=loaded, loadable=await self._triton.loadable())
