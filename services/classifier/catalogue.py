"""Which classification models there are: read from Triton, remembered until Triton may have changed."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from hemaserve.errors import DomainError, FailedPrecondition, Unavailable
from hemaserve.results import ModelTask
from services.classifier.concurrency import together
from services.classifier.decision import Thresholds
from services.classifier.models import (
    ClassificationModel,
    Votes,
    is_classification,
    is_vote,
    parse_model,
    parse_vote,
)
from services.classifier.parameters import UnusableModelError
from services.runtime.tasks import Shared
from services.triton.client import TritonClient
from services.triton.descriptions import ModelDescription
from services.triton.metrics import ModelMetrics
from services.triton.naming import no_such_model, task_by_name

_log = structlog.get_logger(__name__)

_Parsed = TypeVar("_Parsed")

LOOK_AGAIN_S: Final = 2.0
"""Least time between two looks at Triton for names that it did not know, so that wrong names cost it little."""


@dataclass(frozen=True, slots=True)
class ListedModel:
    """A model that requests can name, whether it answers at this moment, and whether its answers can be explained."""

    model: ClassificationModel
    ready: bool
    is_default: bool
    explainable: bool = False


class ModelCatalogue:
    """The classification models that requests can name.

    Args:
        triton: whom to ask.
        default: name of the model for requests that name none.
        default_members: the members of the default model, for when Triton cannot load it, and with it loses what it
            knows of it; empty when the default model is a single network.
        metrics: where the models' versions are shown.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        triton: TritonClient,
        *,
        default: str,
        default_members: Sequence[str] = (),
        metrics: ModelMetrics | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._triton = triton
        self._default = default
        self._default_members = tuple(default_members)
        self._metrics = metrics or ModelMetrics()
        self._clock = clock
        self._models: Mapping[str, ClassificationModel] = {}
        self._votes: Sequence[Votes] = ()
        self._looked_at: float | None = None
        self._looks: Shared[None, None] = Shared()
        self._lock = asyncio.Lock()

    def forget(self) -> None:
        """Triton may come back with other networks: ask it again before the next answer."""
        self._looked_at = None

    async def check(self) -> None:
        """Return when the default model answers.

        Raises:
            Unavailable: Triton or the default model is not ready.
        """
        if not await self._triton.ready(self._default):
            self.forget()
            raise Unavailable(f"classification model {self._default} is not ready")
        await self.get(self._default)

    async def get(self, name: str) -> ClassificationModel:
        """The model of that name; the default one for an empty name. Loaded now when Triton has it and has not yet.

        Raises:
            NotFound: there is no such model; the message names those there are.
            Unavailable: Triton does not answer, or does not have the default model nor any of its members.
        """
        wanted = name or self._default
        if self._looked_at is None or (wanted not in self._models and self._may_look_again()):
            # Together: one after the other, each would wait for a Triton that does not answer.
            await self._looks.run(None, self._look)
        model = self._models.get(wanted)
        if model is None and wanted == self._default:
            return self._stand_in()
        # A network that is of no use here would stay loaded. Loading takes seconds, which those who ask for other
        # models need not wait.
        usable = task_by_name(wanted) is ModelTask.CLASSIFICATION
        if model is None and usable and await self._triton.load(wanted):
            await self._look()
            model = self._models.get(wanted)
        if model is None:
            loaded = {*self._models, self._default}
            raise no_such_model(
                wanted, ModelTask.CLASSIFICATION, loaded=loaded, loadable=await self._triton.loadable()
            )
        return model

    def members(self, model: ClassificationModel) -> list[ClassificationModel]:
        """Those members of an ensemble that Triton has, in the order of the ensemble's list."""
        return [self._models[name] for name in model.members if name in self._models]

    def check_explainable(self, model: ClassificationModel) -> None:
        """Return when the model's answers can be explained: it gives its evidence, or all members of an ensemble do.

        Raises:
            FailedPrecondition: they cannot; the message names the models whose answers can be.
        """
        if self._explainable(model):
            return
        can = ", ".join(sorted(name for name, each in self._models.items() if self._explainable(each)))
        raise FailedPrecondition(
            f"model: the answers of classification model {model.name!r} cannot be explained; those that can: "
            f"{can or 'none of the loaded ones'}",
            reason="MODEL_NOT_EXPLAINABLE",
        )

    def _explainable(self, model: ClassificationModel) -> bool:
        networks = self.members(model) if model.members else [model]
        return all(network.evidence_grid is not None for network in networks)

    async def on_request(self) -> list[str]:
        """Names of those models that are not loaded, and will be when a request names them; of any task."""
        return [name for name in await self._triton.loadable() if task_by_name(name) is not None]

    async def listed(self) -> list[ListedModel]:
        """All models by name, with their readiness asked for anew."""
        await self._looks.run(None, self._look)
        models = [self._models[name] for name in sorted(self._models)]
        ready = await together(self._triton.ready(model.name) for model in models)
        return [
            ListedModel(model, is_ready, model.name == self._default, self._explainable(model))
            for model, is_ready in zip(models, ready, strict=True)
        ]

    def _may_look_again(self) -> bool:
        return self._looked_at is None or self._clock() - self._looked_at >= LOOK_AGAIN_S

    async def _look(self) -> None:
        async with self._lock:
            looked_at = self._clock()
            names = await self._triton.models()
            described = await together(self._describe(name) for name in names)
            descriptions = [description for description in described if description is not None]
            models = {model.name: model for model in _parsed(descriptions, is_classification, parse_model)}
            self._models = {name: model for name, model in models.items() if _is_whole(model, models)}
            self._votes = _parsed(descriptions, is_vote, parse_vote)
            self._looked_at = looked_at
            self._metrics.seen((model.name, model.version, model.sha256) for model in self._models.values())

    async def _describe(self, name: str) -> ModelDescription | None:
        try:
            return await self._triton.model_config(name)
        except DomainError as error:
            # Listed, but not loaded: Triton tells nothing of a model that it could not load.
            _log.info("model_not_loaded", model=name, reason=error.reason)
        return None

    def _stand_in(self) -> ClassificationModel:
        """The default model while Triton does not have it: its members, calibrated where a vote of theirs is loaded.

        Otherwise it commits itself only where the strictest of its members would.

        Raises:
            Unavailable: Triton does not have any of the members either, or they do not fit together.
        """
        present = [self._models[name] for name in self._default_members if name in self._models]
        if not present or not all(_alike(present[0], other) for other in present):
            raise Unavailable(f"classification model {self._default} is not loaded")
        first = present[0]
        return ClassificationModel(
            name=self._default,
            version="",
            title=first.title,
            licence=first.licence,
            sha256="",
            leaf_types=first.leaf_types,
            crop_size_px=first.crop_size_px,
            crop_margin=first.crop_margin,
            max_batch_size=first.max_batch_size,
            thresholds=strictest(present),
            members=self._default_members,
            votes=next((votes for votes in self._votes if self._default_members in votes), {}),
            loaded=False,
        )


def _parsed(
    descriptions: Sequence[ModelDescription],
    is_one: Callable[[ModelDescription], bool],
    parse: Callable[[ModelDescription], _Parsed],
) -> list[_Parsed]:
    """What those descriptions say that claim to be of this sort and can be used; the others are logged."""
    parsed = []
    for description in filter(is_one, descriptions):
        try:
            parsed.append(parse(description))
        except UnusableModelError as error:
            _log.error("model_unusable", model=description.name, problem=str(error))
    return parsed


def _is_whole(model: ClassificationModel, models: Mapping[str, ClassificationModel]) -> bool:
    """Whether all members are there and answer the same question about the same pixels."""
    whole = all(
        name in models and _alike(model, models[name]) and (models[name].scores_ood or not model.scores_ood)
        for name in model.members
    )
    if not whole:
        _log.error("model_unusable", model=model.name, problem="its members are missing or do not fit it")
    return whole


def _alike(model: ClassificationModel, other: ClassificationModel) -> bool:
    return model.leaf_types == other.leaf_types and model.crop_size_px == other.crop_size_px


def strictest(models: Sequence[ClassificationModel]) -> Thresholds:
    """The strictest of each of the models' thresholds and limits: for a vote that nobody calibrated."""
    thresholds = [model.thresholds for model in models]
    limits = [each.ood_limit for each in thresholds if each.ood_limit is not None]
    return Thresholds(
        identify=max(each.identify for each in thresholds),
        leaf=max(each.leaf for each in thresholds),
        # A mean of scores is there to be held against a limit only when each model gives one.
        ood_limit=min(limits) if limits and all(model.scores_ood for model in models) else None,
    )
