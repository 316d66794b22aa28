"""The leukemia screen: whether a field, or the cell in a crop, should be looked at. It flags; it never diagnoses.

It neither asks nor hears what the classifier says of a cell, so nothing that the classifier says can suppress a flag.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
import structlog

from hemaserve.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable
from hemaserve.geometry import FloatArray
from hemaserve.imaging import RgbImage, letterbox, mask_scale_bar
from services.classifier.batches import ImageBatch, infer_all
from services.classifier.concurrency import together
from services.classifier.crops import CropReader, EncodedCrop
from services.classifier.decision import checked_probabilities
from services.classifier.parameters import UnusableModelError
from services.classifier.screening_models import (
    PROBABILITIES_OUTPUT,
    ScreeningModel,
    ScreenTask,
    parse_screening_model,
)
from services.runtime.admission import Admission
from services.runtime.fields import FieldGate
from services.runtime.remote import Deadline
from services.runtime.stages import stage
from services.runtime.workers import Workers
from services.triton.client import TritonClient
from services.triton.pace import TritonPace

_log = structlog.get_logger(__name__)

NOT_LOADED: Final = "SCREEN_NOT_LOADED"
"""Reason of the error of a screen whose network is not served here."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a screening network says of one image.

    Attributes:
        flagged: whether a person should look at it.
        probability: of the classes that flag, 0 to 1.
        probabilities: of all classes, in the order of the network's.
    """

    flagged: bool
    probability: float
    probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ScreenedField:
    """What came of a field, and the network that answered."""

    model: ScreeningModel
    finding: Finding


@dataclass(frozen=True, slots=True)
class ScreenedCrops:
    """What came of the crops of one request, one outcome for each in their order, and the network that answered."""

    model: ScreeningModel
    outcomes: list[Finding | InvalidArgument]


def findings(probabilities: FloatArray, model: ScreeningModel) -> list[Finding]:
    """The findings for rows of probabilities float32 [N, classes] that sum to 1.

    The threshold counts as reached when exactly met, in float32, which is what callers are shown.
    """
    flags = [model.classes.index(name) for name in model.flag_classes]
    flagging = np.minimum(probabilities[:, flags].astype(np.float64).sum(axis=1), 1).astype(np.float32)
    flagged = flagging >= np.float32(model.flag_threshold)
    return [
        Finding(bool(flagged[row]), float(flagging[row]), tuple(probabilities[row].tolist()))
        for row in range(len(probabilities))
    ]


class ScreeningNetwork:
    """One network of the screen in Triton, by its name. It need not be there, and is loaded when first asked."""

    def __init__(self, triton: TritonClient, pace: TritonPace, name: str, task: ScreenTask) -> None:
        self._triton = triton
        self._pace = pace
        self._name = name
        self._task = task

    async def model(self) -> ScreeningModel:
        """What Triton says of it; loaded now when Triton has it in its repository and not yet loaded.

        Raises:
            FailedPrecondition: it is not there, or is none that this service can use.
            Unavailable: Triton does not answer.
        """
        with self._missing():
            # Asked first, so that what is usual leaves no warning in the log.
            if not await self._triton.ready(self._name) and not await self._triton.load(self._name):
                raise NotFound("there is no such network, or it could not be loaded")
            try:
                return parse_screening_model(await self._triton.model_config(self._name), self._task)
            except UnusableModelError as error:
                _log.error("model_unusable", model=self._name, problem=str(error))
                raise NotFound("the network cannot be used") from error

    async def if_loaded(self) -> ScreeningModel | None:
        """What Triton says of it; None when it is not loaded at this moment, or is none that can be used."""
        if not await self._triton.ready(self._name):
            return None
        try:
            return await self.model()
        except (FailedPrecondition, Unavailable):
            return None

    async def findings(self, model: ScreeningModel, images: ImageBatch, *, timeout_s: float) -> list[Finding]:
        """What it says of images uint8 [N, input_px, input_px, 3], one finding for each.

        Raises:
            FailedPrecondition: it is not loaded any more.
            DomainError: what `TritonClient.infer` raises.
        """
        with self._missing():
            answered = await infer_all(
                self._pace,
                model,
                self._task.input_name,
                images,
                [PROBABILITIES_OUTPUT],
                timeout_s=timeout_s,
            )
        classes = len(model.classes)
        return [
            finding
            for answer, rows in answered
            for finding in findings(
                checked_probabilities(
                    answer[PROBABILITIES_OUTPUT], rows=rows, leaves=classes, source=model.name
                ),
                model,
            )
        ]

    @contextmanager
    def _missing(self) -> Iterator[None]:
        try:
            yield
        except NotFound:
            what = "fields" if self._task is ScreenTask.FIELD else "cells"
            raise FailedPrecondition(
                f"no network that screens {what} for leukemia is served here", reason=NOT_LOADED
            ) from None


class Screening:
    """Screens fields and cells.

    Args:
        triton: where the networks are.
        pace: how much they are given at one time.
        field_model: name of the network that looks at fields.
        cell_model: name of the network that looks at crops.
        gate: lets fields into memory.
        workers: where pixels are worked on.
        reader: makes pixels of crops.
        capacity: crops that are worked on at one time, over all requests of any RPC.
    """

    def __init__(
        self,
        triton: TritonClient,
        pace: TritonPace,
        *,
        field_model: str,
        cell_model: str,
        gate: FieldGate,
        workers: Workers,
        reader: CropReader,
        capacity: Admission,
    ) -> None:
        self._fields = ScreeningNetwork(triton, pace, field_model, ScreenTask.FIELD)
        self._cells = ScreeningNetwork(triton, pace, cell_model, ScreenTask.CELL)
        self._gate = gate
        self._workers = workers
        self._reader = reader
        self._capacity = capacity

    async def models(self) -> list[ScreeningModel]:
        """The screening networks that answer at this moment."""
        found = await together([self._fields.if_loaded(), self._cells.if_loaded()])
        return [model for model in found if model is not None]

    async def field(self, image: bytes, *, timeout_s: float) -> ScreenedField:
        """Screen one field, given as an image file.

        Raises:
            InvalidArgument: it is no image that is accepted.
            ResourceExhausted: too many fields wait already.
            FailedPrecondition: the network is not loaded.
            DomainError: what `TritonClient.infer` raises.
        """
        deadline = Deadline(timeout_s)
        model = await self._fields.model()
        async with self._gate.opened(image, deadline) as field:
            with stage("read"):
                square = await self._workers.run(field_input, field.image, model.input_px)
        with stage("infer"):
            (finding,) = await self._fields.findings(model, square[None], timeout_s=deadline.remaining_s())
        return ScreenedField(model, finding)

    async def cells(self, crops: list[EncodedCrop], *, timeout_s: float) -> ScreenedCrops:
        """Screen the cell in each crop; one that cannot be read becomes an error in its own place.

        Args:
            crops: emptied once they are read: a request may bring megabytes.

        Raises:
            FailedPrecondition: the network is not loaded.
            DomainError: what `TritonClient.infer` raises.
        """
        deadline = Deadline(timeout_s)
        model = await self._cells.model()
        count = len(crops)
        async with self._capacity.admitted(count, deadline=deadline):
            with stage("read"):
                batch, errors = await self._reader.read(crops, size=model.input_px)
                crops.clear()
            with stage("infer"):
                found = iter(await self._cells.findings(model, batch, timeout_s=deadline.remaining_s()))
        outcomes = [errors[index] if index in errors else next(found) for index in range(count)]
        return ScreenedCrops(model, outcomes)


def field_input(image: RgbImage, size: int) -> RgbImage:
    """What the network sees of a field: without its scale bar, in a square, uint8 [size, size, 3]."""
    return letterbox(mask_scale_bar(image), size)[0]
