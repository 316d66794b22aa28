"""Answers of single networks and of ensembles, and what becomes of an ensemble when a part of it fails."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog

from hemaserve.errors import DomainError, NotFound, ResourceExhausted, Unavailable
from hemaserve.geometry import FloatArray
from services.classifier.catalogue import ModelCatalogue, strictest
from services.classifier.decision import Thresholds
from services.classifier.inference import CropBatch, leaf_probabilities
from services.classifier.models import PROBABILITIES_OUTPUT, ClassificationModel, member_output
from services.runtime.remote import Deadline
from services.triton.client import TritonClient

_log = structlog.get_logger(__name__)

ENSEMBLE_TIME_SHARE: Final = 0.5
"""Share of a request's time after which an ensemble is late, so that there is time left to ask its members."""

MEMBERS_TIME_SHARE: Final = 0.8
"""Share of the time left then after which a member is late, so that there is time left to answer without it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model said about some crops.

    Attributes:
        model: the model that was asked.
        probabilities: calibrated leaf probabilities, float32 [N, leaves].
        thresholds: those that go with these probabilities.
        opinions: what each member said, float32 [N, leaves] by name; empty for a single network.
        members: the members that took part.
        degraded: True when this is not what the whole, calibrated ensemble would have said.
    """

    model: ClassificationModel
    probabilities: FloatArray
    thresholds: Thresholds
    opinions: Mapping[str, FloatArray]
    members: tuple[ClassificationModel, ...]
    degraded: bool


def vote(opinions: Sequence[FloatArray], temperature: float) -> FloatArray:
    """The members' calibrated opinions, float32 [N, leaves] each, as one: the same as Triton's `vote` model.

    The mean p of their probabilities, then p**(1/temperature), each row scaled to sum to 1.
    """
    mean = np.mean(np.stack(opinions).astype(np.float64), axis=0)
    # Scaled by its greatest first: a low temperature must not let all of a row vanish.
    sharpened = (mean / mean.max(axis=1, keepdims=True)) ** (1 / temperature)
    return np.asarray(sharpened / sharpened.sum(axis=1, keepdims=True), np.float32)


class Networks:
    """Asks networks and ensembles in Triton."""

    def __init__(self, triton: TritonClient, catalogue: ModelCatalogue) -> None:
        self._triton = triton
        self._catalogue = catalogue

    async def answer(self, model: ClassificationModel, crops: CropBatch, *, timeout_s: float) -> Answer:
        """What `model` says about `crops`, uint8 [N, size, size, 3] of the model's size.

        When an ensemble fails or is late, its members are asked one by one, and the answer is that of those who
        gave one; `Answer` says which.

        Raises:
            Unavailable: Triton is away, or no member of the ensemble answered.
            DomainError: what `leaf_probabilities` raises.
        """
        try:
            if not model.members:
                return await self._answer_of_one(model, crops, timeout_s)
            return await self._answer_of_ensemble(model, crops, Deadline(timeout_s))
        except NotFound:
            # It was there a moment ago, so this is no mistake of the caller's.
            self._catalogue.forget()
            raise Unavailable(f"classification model {model.name} is not loaded at the moment") from None
        except Unavailable:
            self._catalogue.forget()
            raise

    async def _answer_of_one(self, model: ClassificationModel, crops: CropBatch, timeout_s: float) -> Answer:
        found = await leaf_probabilities(
            self._triton, model, crops, [PROBABILITIES_OUTPUT], timeout_s=timeout_s
        )
        return Answer(model, found[PROBABILITIES_OUTPUT], model.thresholds, {}, (), degraded=False)

    async def _answer_of_ensemble(
        self, model: ClassificationModel, crops: CropBatch, deadline: Deadline
    ) -> Answer:
        members = self._catalogue.members(model)
        if model.vote_temperature is not None:
            try:
                return await self._answer_of_whole(model, members, crops, deadline)
            except ResourceExhausted:
                # Asking the members would only add to a load that is too great already.
                raise
            except DomainError as error:
                _log.warning("ensemble_failed", model=model.name, reason=error.reason)
        return await self._answer_of_members(model, members, crops, deadline)

    async def _answer_of_whole(
        self,
        model: ClassificationModel,
        members: Sequence[ClassificationModel],
        crops: CropBatch,
        deadline: Deadline,
    ) -> Answer:
        outputs = [PROBABILITIES_OUTPUT, *map(member_output, model.members)]
        timeout_s = deadline.remaining_s() * ENSEMBLE_TIME_SHARE
        found = await leaf_probabilities(self._triton, model, crops, outputs, timeout_s=timeout_s)
        opinions = {name: found[member_output(name)] for name in model.members}
        return Answer(
            model, found[PROBABILITIES_OUTPUT], model.thresholds, opinions, tuple(members), degraded=False
        )

    async def _answer_of_members(
        self,
        model: ClassificationModel,
        members: Sequence[ClassificationModel],
        crops: CropBatch,
        deadline: Deadline,
    ) -> Answer:
        timeout_s = deadline.remaining_s() * MEMBERS_TIME_SHARE
        asked = await asyncio.gather(*(self._opinion(member, crops, timeout_s) for member in members))
        took_part = [member for member, opinion in zip(members, asked, strict=True) if opinion is not None]
        opinions = [opinion for opinion in asked if opinion is not None]
        if not took_part:
            raise Unavailable(f"none of the members of classification model {model.name} answered")
        by_name = {member.name: opinion for member, opinion in zip(took_part, opinions, strict=True)}
        if model.vote_temperature is not None and len(took_part) == len(model.members):
            probabilities = vote(opinions, model.vote_temperature)
            return Answer(model, probabilities, model.thresholds, by_name, tuple(took_part), degraded=False)
        # Nobody calibrated this subset's vote. A mean of calibrated probabilities errs towards doubt, and the strictest
        # of the thresholds suits all; of a single member, these are its own probabilities and thresholds.
        probabilities = vote(opinions, temperature=1.0)
        return Answer(model, probabilities, strictest(took_part), by_name, tuple(took_part), degraded=True)

    async def _opinion(
        self, member: ClassificationModel, crops: CropBatch, timeout_s: float
    ) -> FloatArray | None:
        """What one member says, or None when it fails or is late."""
        try:
            answer = await self._answer_of_one(member, crops, timeout_s)
        except DomainError as error:
            _log.warning("member_failed", model=member.name, reason=error.reason)
            return None
        return answer.probabilities
