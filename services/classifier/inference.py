"""Leaf probabilities from one model in Triton, whatever the number of crops."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hemaserve.geometry import FloatArray
from services.classifier.concurrency import together
from services.classifier.decision import checked_probabilities
from services.classifier.models import CROPS_INPUT, ClassificationModel
from services.triton.client import TritonClient

CropBatch = NDArray[np.uint8]
"""Crops of one size: uint8 [N, size, size, 3] RGB."""


async def leaf_probabilities(
    triton: TritonClient,
    model: ClassificationModel,
    crops: CropBatch,
    outputs: Sequence[str],
    *,
    timeout_s: float,
) -> dict[str, FloatArray]:
    """Each of `outputs` as float32 [N, leaves], row for crop; checked to be probability distributions.

    More crops than the model takes at once go in several requests side by side.

    Raises:
        Internal: the network answered with something else.
        DomainError: what `TritonClient.infer` raises.
    """
    size = model.max_batch_size
    parts = [crops[start : start + size] for start in range(0, len(crops), size)]
    answers = await together(
        triton.infer(model.name, {CROPS_INPUT: part}, list(outputs), timeout_s=timeout_s) for part in parts
    )
    leaves = len(model.leaf_types)
    empty = np.empty((0, leaves), np.float32)
    return {
        output: np.concatenate(
            [
                empty,
                *(
                    checked_probabilities(answer[output], rows=len(part), leaves=leaves, source=model.name)
                    for part, answer in zip(parts, answers, strict=True)
                ),
            ]
        )
        for output in outputs
    }
