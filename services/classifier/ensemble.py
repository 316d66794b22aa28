"""Answers of single networks and of ensembles, and what becomes of an ensemble when a part of it fails."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import structlog

from hemaserve.errors import DomainError, NotFound, ResourceExhausted, Unavailable
from hemaserve.geometry import FloatArray
from hemaserve.voting import disagreement, vote
from services.classifier.catalogue import ModelCatalogue, strictest
from services.classifier.crops import CropBatch
from services.classifier.decision import Decision, Thresholds, decide, primary_tree
from services.classifier.inference import ask
from services.classifier.models import ClassificationModel, Vote
from services.runtime.remote import Deadline
from services.triton.pace import TritonPace

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
        thresholds: those that go with these probabilities and scores.
        opinions: what each member said, float32 [N, leaves] by name; empty for a single network.
        members: the members that took part.
        degraded: True when this is not what the whole, calibrated ensemble would have said.
        ood_scores: out-of-distribution scores, float32 [N]; None when the networks give none.
        disagreements: how far the members are apart, float32 [N], 0 to 1; None when fewer than two took part.
        evidence: of the network, or of each member that took part, float32 [N, leaves, h, w] by name; empty when it was
            not asked for.
    """

    model: ClassificationModel
    probabilities: FloatArray
    thresholds: Thresholds
    opinions: Mapping[str, FloatArray]
    members: tuple[ClassificationModel, ...]
    degraded: bool
    ood_scores: FloatArray | None
    disagreements: FloatArray | None = None
    evidence: Mapping[str, FloatArray] = field(default_factory=dict)

    def decisions(self) -> list[Decision]:
        """What is said about each crop that the networks were asked about."""
        return decide(
            self.probabilities,
            self.model.leaf_types,
            self.thresholds,
            ood_scores=self.ood_scores,
            disagreements=self.disagreements,
        )


class Networks:
    """Asks networks and ensembles in Triton."""

    def __init__(self, triton: TritonPace, catalogue: ModelCatalogue) -> None:
        self._triton = triton
        self._catalogue = catalogue

    async def answer(
        self, model: ClassificationModel, crops: CropBatch, *, timeout_s: float, evidence: bool = False
    ) -> Answer:
        """What `model` says about `crops`, uint8 [N, size, size, 3] of the model's size.

        When an ensemble fails or is late, its members are asked one by one, and the answer is that of those who
        gave one; `Answer` says which.

        Args:
            evidence: ask for it too, which an ensemble's members are asked for one by one; all of them must give it.

        Raises:
            Unavailable: Triton is away, or no member of the ensemble answered.
            ResourceExhausted: a queue is full.
            DomainError: what `inference.ask` raises.
        """
        try:
            if not model.members:
                return await self._answer_of_one(model, crops, timeout_s, evidence=evidence)
            return await self._answer_of_ensemble(model, crops, Deadline(timeout_s), evidence=evidence)
        except NotFound:
            # It was there a moment ago, so this is no mistake of the caller's.
            self._catalogue.forget()
            raise Unavailable(f"classification model {model.name} is not loaded at the moment") from None
        except Unavailable:
            self._catalogue.forget()
            raise

    async def _answer_of_one(
        self, model: ClassificationModel, crops: CropBatch, timeout_s: float, *, evidence: bool
    ) -> Answer:
        found = await ask(self._triton, model, crops, timeout_s=timeout_s, evidence=evidence)
        return Answer(
            model,
            found.probabilities,
            model.thresholds,
            {},
            (),
            degraded=False,
            ood_scores=found.ood_scores,
            evidence={} if found.evidence is None else {model.name: found.evidence},
        )

    async def _answer_of_ensemble(
        self, model: ClassificationModel, crops: CropBatch, deadline: Deadline, *, evidence: bool
    ) -> Answer:
        members = self._catalogue.members(model)
        # Triton's ensemble passes no evidence on: the members vote here then, by the same calibration.
        if model.loaded and not evidence:
            try:
                return await self._answer_of_whole(model, members, crops, deadline)
            except ResourceExhausted:
                # Asking the members would only add to a load that is too great already.
                raise
            except DomainError as error:
                _log.warning("ensemble_failed", model=model.name, reason=error.reason)
        return await self._answer_of_members(model, members, crops, deadline, evidence=evidence)

    async def _answer_of_whole(
        self,
        model: ClassificationModel,
        members: Sequence[ClassificationModel],
        crops: CropBatch,
        deadline: Deadline,
    ) -> Answer:
        timeout_s = deadline.remaining_s() * ENSEMBLE_TIME_SHARE
        found = await ask(self._triton, model, crops, timeout_s=timeout_s)
        return Answer(
            model,
            found.probabilities,
            model.thresholds,
            found.opinions,
            tuple(members),
            degraded=False,
            ood_scores=found.ood_scores,
            disagreements=_disagreements(found.opinions, model),
        )

    async def _answer_of_members(
        self,
        model: ClassificationModel,
        members: Sequence[ClassificationModel],
        crops: CropBatch,
        deadline: Deadline,
        *,
        evidence: bool,
    ) -> Answer:
        timeout_s = deadline.remaining_s() * MEMBERS_TIME_SHARE
        asked = await asyncio.gather(
            *(self._opinion(member, crops, timeout_s, evidence=evidence) for member in members)
        )
        answers = [answer for answer in asked if isinstance(answer, Answer)]
        if not answers:
            if full := next((error for error in asked if isinstance(error, ResourceExhausted)), None):
                raise full
            raise Unavailable(f"none of the members of classification model {model.name} answered")
        took_part = tuple(answer.model for answer in answers)
        opinions = {answer.model.name: answer.probabilities for answer in answers}
        # A mean of calibrated probabilities errs towards doubt, and the strictest of the thresholds suits all.
        uncalibrated = Vote(1.0, strictest(took_part))
        calibrated = model.votes.get(tuple(opinions), uncalibrated)
        return Answer(
            model,
            vote(list(opinions.values()), calibrated.temperature).astype(np.float32),
            calibrated.thresholds,
            opinions,
            took_part,
            degraded=not model.loaded or len(took_part) < len(model.members),
            ood_scores=_mean([answer.ood_scores for answer in answers]),
            disagreements=_disagreements(opinions, model),
            evidence={name: found for answer in answers for name, found in answer.evidence.items()},
        )

    async def _opinion(
        self, member: ClassificationModel, crops: CropBatch, timeout_s: float, *, evidence: bool
    ) -> Answer | DomainError:
        """What one member says, or why it says nothing: it fails or is late."""
        try:
            return await self._answer_of_one(member, crops, timeout_s, evidence=evidence)
        except DomainError as error:
            _log.warning("member_failed", model=member.name, reason=error.reason)
            return error


def _disagreements(opinions: Mapping[str, FloatArray], model: ClassificationModel) -> FloatArray | None:
    if len(opinions) < 2:
        return None
    return disagreement(list(opinions.values()), primary_tree(model.leaf_types)[1])


def _mean(scores: Sequence[FloatArray | None]) -> FloatArray | None:
    """The mean of the members' scores, float32 [N] each, as Triton's `vote` gives it; None when one has none."""
    given = [score for score in scores if score is not None]
    return np.mean(given, axis=0, dtype=np.float32) if len(given) == len(scores) else None
