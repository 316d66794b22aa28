"""Names the cells of one request: reads its crops, asks the networks, decides, and puts every answer in its place."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hemaserve.errors import InvalidArgument
from services.classifier.catalogue import ModelCatalogue
from services.classifier.concurrency import Capacity
from services.classifier.crops import CropLimits, EncodedCrop, read_crop
from services.classifier.decision import Decision, decide
from services.classifier.ensemble import Answer, Networks
from services.classifier.inference import CropBatch
from services.runtime.remote import Deadline


@dataclass(frozen=True, slots=True)
class NamedCell:
    """What came of one crop that could be read.

    Attributes:
        decision: what is said about the cell.
        row: its row in the answer's probabilities and opinions.
    """

    decision: Decision
    row: int


@dataclass(frozen=True, slots=True)
class ClassifiedCrops:
    """What came of the crops of one request.

    Attributes:
        answer: what the networks said about the crops that could be read.
        outcomes: one for each crop, in their order.
    """

    answer: Answer
    outcomes: list[NamedCell | InvalidArgument]


class Classifier:
    """Names cells.

    Args:
        catalogue: where models are found by name.
        networks: whom to ask.
        limits: what a crop may be.
        crops_at_once: crops that are worked on at one time, over all requests: pixels are copied several times on
            their way to Triton, and a request that waits for its turn costs only what it brought.
    """

    def __init__(
        self, catalogue: ModelCatalogue, networks: Networks, limits: CropLimits, *, crops_at_once: int
    ) -> None:
        self._catalogue = catalogue
        self._networks = networks
        self._limits = limits
        self._capacity = Capacity(crops_at_once)

    async def classify(
        self, model_name: str, crops: list[EncodedCrop], *, timeout_s: float
    ) -> ClassifiedCrops:
        """Name the cell in each crop; one that cannot be read becomes an error in its own place.

        Args:
            model_name: empty for the default model.
            crops: emptied once they are read: a request may bring megabytes.

        Raises:
            NotFound: there is no such model.
            DomainError: what `Networks.answer` raises.
        """
        deadline = Deadline(timeout_s)
        model = await self._catalogue.get(model_name)
        count = len(crops)
        async with self._capacity.room_for(count):
            # Decoding and scaling some hundred files takes long enough to hold up the other streams.
            batch, errors = await asyncio.to_thread(self._read, crops, model.crop_size_px)
            crops.clear()
            answer = await self._networks.answer(model, batch, timeout_s=deadline.remaining_s())
        decisions = decide(answer.probabilities, model.leaf_types, answer.thresholds)
        named = iter([NamedCell(decision, row) for row, decision in enumerate(decisions)])
        outcomes = [errors[index] if index in errors else next(named) for index in range(count)]
        return ClassifiedCrops(answer, outcomes)

    def _read(self, crops: Sequence[EncodedCrop], size: int) -> tuple[CropBatch, dict[int, InvalidArgument]]:
        """The crops that can be read, uint8 [N, size, size, 3] in their order, and by index why the others cannot."""
        batch = np.empty((len(crops), size, size, 3), np.uint8)
        errors: dict[int, InvalidArgument] = {}
        for index, crop in enumerate(crops):
            try:
                batch[index - len(errors)] = read_crop(crop, size=size, limits=self._limits)
            except InvalidArgument as error:
                errors[index] = error
        return batch[: len(crops) - len(errors)], errors
