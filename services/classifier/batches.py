"""Images through one model in Triton, whatever their number."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.classifier.concurrency import together
from services.triton.client import Array
from services.triton.pace import TritonPace

ImageBatch = NDArray[np.uint8]
"""Images of one size: uint8 [N, size, size, 3] RGB."""

Answered = Sequence[tuple[Mapping[str, Array], int]]
"""Triton's answers in the order of the images, each with the number of images that it is about."""


class TakesBatches(Protocol):
    """A model, as far as it matters here."""

    @property
    def name(self) -> str:
        """Its name in Triton."""

    @property
    def max_batch_size(self) -> int:
        """Most images that Triton takes in one request."""


async def infer_all(
    triton: TritonPace,
    model: TakesBatches,
    input_name: str,
    images: ImageBatch,
    outputs: Sequence[str],
    *,
    timeout_s: float,
) -> Answered:
    """What a model answers; more images than it takes at once, or in time, go in several requests side by side.

    Args:
        input_name: what the model calls its input.

    Raises:
        DomainError: what `TritonPace.infer` raises.
    """
    size = triton.rows(model.name, model.max_batch_size)
    parts = [images[start : start + size] for start in range(0, len(images), size)]
    answers = await together(
        triton.infer(model.name, {input_name: part}, list(outputs), timeout_s=timeout_s) for part in parts
    )
    return [(answer, len(part)) for answer, part in zip(answers, parts, strict=True)]
