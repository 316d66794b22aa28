"""What one model in Triton says about crops, whatever their number."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hemaserve.geometry import FloatArray
from services.classifier.batches import Answered, infer_all
from services.classifier.crops import CropBatch
from services.classifier.decision import checked_evidence, checked_probabilities, checked_scores
from services.classifier.models import (
    CROPS_INPUT,
    EVIDENCE_OUTPUT,
    OOD_SCORE_OUTPUT,
    PROBABILITIES_OUTPUT,
    ClassificationModel,
    member_output,
)
from services.triton.pace import TritonPace


@dataclass(frozen=True, slots=True)
class Outputs:
    """What a model says about N crops.

    Attributes:
        probabilities: of the leaves, float32 [N, leaves].
        opinions: what each member of an ensemble said, float32 [N, leaves] by name.
        ood_scores: out-of-distribution scores, float32 [N]; None when the model gives none.
        evidence: float32 [N, leaves, h, w], see `explanation`; None when it was not asked for.
    """

    probabilities: FloatArray
    opinions: Mapping[str, FloatArray]
    ood_scores: FloatArray | None
    evidence: FloatArray | None = None


async def ask(
    triton: TritonPace,
    model: ClassificationModel,
    crops: CropBatch,
    *,
    timeout_s: float,
    evidence: bool = False,
) -> Outputs:
    """Row for crop, all that the model says of `crops`, checked to be what it should be.

    More crops than the model takes at once go in several requests side by side.

    Args:
        evidence: ask for it too; the model must be one that gives it.

    Raises:
        Internal: the network answered with something else.
        DomainError: what `TritonPace.infer` raises.
    """
    wanted = [PROBABILITIES_OUTPUT, *map(member_output, model.members)]
    if model.scores_ood:
        wanted.append(OOD_SCORE_OUTPUT)
    if evidence:
        wanted.append(EVIDENCE_OUTPUT)
    answered = await infer_all(triton, model, CROPS_INPUT, crops, wanted, timeout_s=timeout_s)
    return Outputs(
        probabilities=_probabilities(model, answered, PROBABILITIES_OUTPUT),
        opinions={name: _probabilities(model, answered, member_output(name)) for name in model.members},
        ood_scores=_scores(model, answered) if model.scores_ood else None,
        evidence=_evidence(model, answered) if evidence else None,
    )


def _probabilities(model: ClassificationModel, answered: Answered, output: str) -> FloatArray:
    leaves = len(model.leaf_types)
    checked = (
        checked_probabilities(answer[output], rows=rows, leaves=leaves, source=model.name)
        for answer, rows in answered
    )
    return np.concatenate([np.empty((0, leaves), np.float32), *checked])


def _scores(model: ClassificationModel, answered: Answered) -> FloatArray:
    checked = (
        checked_scores(answer[OOD_SCORE_OUTPUT], rows=rows, source=model.name) for answer, rows in answered
    )
    return np.concatenate([np.empty(0, np.float32), *checked])


def _evidence(model: ClassificationModel, answered: Answered) -> FloatArray:
    shape = (len(model.leaf_types), *(model.evidence_grid or ()))
    checked = (
        checked_evidence(answer[EVIDENCE_OUTPUT], rows=rows, shape=shape, source=model.name)
        for answer, rows in answered
    )
    return np.concatenate([np.empty((0, *shape), np.float32), *checked])
