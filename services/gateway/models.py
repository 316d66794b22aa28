"""What the services behind the gateway say of their models."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hemaserve.errors import FailedPrecondition, NotFound, Unavailable
from hemaserve.v1 import cells_pb2
from services.gateway.classifier import ClassifierClient
from services.gateway.detector import DetectorClient
from services.runtime.tasks import task_group


@dataclass(frozen=True, slots=True)
class CropShape:
    """How a classifier wants its crops.

    Attributes:
        size_px: side of the square, in pixels.
        margin: share of the box's longer side that is added on every side.
    """

    size_px: int
    margin: float


_SCREENS: Final = (cells_pb2.MODEL_TASK_SCREEN_FIELD, cells_pb2.MODEL_TASK_SCREEN_CELL)


class ModelDirectory:
    """Lists the models, and remembers how each classifier, and the screen of cells, wants its crops.

    A model's crops change only when another file is served under its name, which is an operator's act; until it is
    noticed the classifier scales what it gets. What was once said of a model is kept while the model is not listed,
    because a degraded ensemble answers although the model server does not have it.
    """

    def __init__(self, detector: DetectorClient, classifier: ClassifierClient, *, max_age_s: float) -> None:
        self._detector = detector
        self._classifier = classifier
        self._max_age_s = max_age_s
        self._shapes: dict[str, CropShape] = {}
        self._default = ""
        self._ready: frozenset[str] = frozenset()
        self._screen_shape: CropShape | None = None
        self._fresh_until_s = float("-inf")
        self._refreshing = asyncio.Lock()

    async def all(self, *, timeout_s: float) -> list[cells_pb2.Model]:
        """All models as they are at this moment, by task and name."""
        async with task_group() as group:
            detectors = group.create_task(self._detector.models(timeout_s=timeout_s))
            classifiers = group.create_task(self._classifier.models(timeout_s=timeout_s))
        return sorted(
            [*detectors.result(), *classifiers.result()],
            key=lambda model: (model.on_request, model.task, model.name),
        )

    async def crop_shape(self, model: str, *, field: str, timeout_s: float) -> CropShape:
        """How classifier `model` (empty: the default) wants its crops. One that is not loaded yet is loaded.

        Args:
            field: the request's field that named it.

        Raises:
            NotFound: there is no such classifier; the message names those that there are.
            Unavailable: no classifier is the default, or the classifier cannot be reached.
        """
        async with self._refreshing:
            if time.monotonic() >= self._fresh_until_s or model not in self._shapes:
                await self._refresh(timeout_s)
        if model and model not in self._shapes:
            try:
                await self._classifier.wake(model, timeout_s=timeout_s)
            except NotFound as error:
                raise NotFound(f"{field}: {error.message}", reason=error.reason) from error
            await self._refresh(timeout_s)
        if model not in self._shapes:
            what = (
                f"classification model {model} is not loaded"
                if model
                else "the classifier has no default model"
            )
            raise Unavailable(what)
        return self._shapes[model]

    async def default_name(self, *, timeout_s: float) -> str:
        """Name of the classifier that answers requests that name none; empty when it was never listed."""
        async with self._refreshing:
            if time.monotonic() >= self._fresh_until_s or not self._default:
                await self._refresh(timeout_s)
        return self._default

    def answers(self, model: str) -> bool:
        """Whether a classifier of that name was ready when they were last listed. Asks nobody."""
        return model in self._ready

    async def wake(self, model: str, *, timeout_s: float) -> None:
        """Have a classifier loaded that does not answer, and look again.

        Raises:
            NotFound: there is no such classifier.
            DomainError: it cannot be loaded, or the classifier cannot be reached.
        """
        await self._classifier.wake(model, timeout_s=timeout_s)
        async with self._refreshing:
            await self._refresh(timeout_s)

    async def check_screen(self, model: str, *, timeout_s: float) -> None:
        """Return when the leukemia screen can look at the crops that classifier `model` wants.

        Raises:
            FailedPrecondition: there is no network that screens cells, or it wants other crops.
            DomainError: what `crop_shape` raises.
        """
        wanted = await self.crop_shape(model, field="options.model", timeout_s=timeout_s)
        if self._screen_shape is None:
            await self._classifier.wake_screen(timeout_s=timeout_s)
            await self._refresh(timeout_s)
        if self._screen_shape != wanted:
            raise FailedPrecondition(
                f"options.screen: the screen looks at other crops than classification model {model!r} does",
                reason="SCREEN_CROPS_DIFFER",
            )

    async def _refresh(self, timeout_s: float) -> None:
        everything = await self._classifier.models(timeout_s=timeout_s)
        self._screen_shape = _screen_shape(everything)
        # Of one that is not loaded yet only the name is known.
        models = [model for model in everything if model.task not in _SCREENS and not model.on_request]
        self._ready = frozenset(model.name for model in models if model.ready)
        listed = {model.name: _shape(model) for model in models}
        default = [model.name for model in models if model.is_default]
        # Members of a default ensemble that is not there take what it takes.
        in_its_place = list(set(listed.values()))
        if default:
            (self._default, *_) = default
            listed[""] = listed[self._default]
        elif len(in_its_place) == 1:
            listed[""] = in_its_place[0]
        self._shapes |= listed
        self._fresh_until_s = time.monotonic() + self._max_age_s


def _shape(model: cells_pb2.Model) -> CropShape:
    return CropShape(model.input_size_px, model.crop_margin)


def _screen_shape(models: Iterable[cells_pb2.Model]) -> CropShape | None:
    """How the screen of cells wants its crops; None while its network is not loaded."""
    of_cells = (model for model in models if model.task == cells_pb2.MODEL_TASK_SCREEN_CELL)
    return next(map(_shape, of_cells), None)
