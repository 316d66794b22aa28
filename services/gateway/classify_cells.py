"""Cells that the caller has located: each image is decoded, its cell is cut out, and the classifier names it."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from hemaserve.errors import DomainError, InvalidArgument
from hemaserve.geometry import Box
from hemaserve.imaging import ImageLimits, RgbImage, cut_crop, decode
from hemaserve.results import Priority
from hemaserve.v1 import cells_pb2, classifier_pb2
from services.gateway.classifier import CellStream, ClassifierClient, classification_of
from services.gateway.models import CropShape, ModelDirectory
from services.gateway.provenance import merge_provenances
from services.runtime.remote import Deadline
from services.runtime.tasks import task_group


@dataclass(frozen=True, slots=True)
class LocatedCell:
    """A cell that the caller has located.

    Attributes:
        cell_id: the caller's name for it.
        image: an image file with the cell in it.
        box: where in the image the cell is, without margin; None for the whole image.
        path: where it stands in the request, for errors.
    """

    cell_id: str
    image: bytes
    box: Box | None
    path: str


@dataclass(frozen=True, slots=True)
class RefusedCell:
    """A cell that cannot be classified as it was sent."""

    cell_id: str
    error: InvalidArgument


Outcome = cells_pb2.Classification | DomainError
"""What came of one cell: what it is, or why that cannot be said."""


@dataclass(frozen=True, slots=True)
class NamedCells:
    """The answers to one request.

    Attributes:
        outcomes: one for each cell, in order.
        provenance: where they came from.
    """

    outcomes: tuple[Outcome, ...]
    provenance: cells_pb2.Provenance


class CellNaming:
    """Names located cells.

    Args:
        threads: where images are decoded, off the event loop.
        limits: what is accepted as an image.
    """

    def __init__(
        self, classifier: ClassifierClient, models: ModelDirectory, threads: Executor, limits: ImageLimits
    ) -> None:
        self._classifier = classifier
        self._models = models
        self._threads = threads
        self._limits = limits

    async def name(
        self,
        cells: Sequence[LocatedCell | RefusedCell],
        *,
        model: str,
        site_profile: str,
        deadline: Deadline,
        priority: Priority,
    ) -> NamedCells:
        """Name the cells of one request; a cell that cannot be read harms no other.

        Raises:
            DomainError: none of them could be named, whatever their images.
        """
        shape = await self._models.crop_shape(model, field="model", timeout_s=deadline.remaining_s())
        cut = await asyncio.gather(*(self._cut(cell, shape) for cell in cells))
        outcomes: dict[int, Outcome] = {
            index: crop for index, crop in enumerate(cut) if isinstance(crop, DomainError)
        }
        # The caller's ids may be empty or repeated; places are neither.
        crops = [
            classifier_pb2.CellToClassify(crop=_crop(str(index), crop))
            for index, crop in enumerate(cut)
            if not isinstance(crop, DomainError)
        ]
        provenances: list[cells_pb2.Provenance] = []
        if crops:
            async with (
                self._classifier.stream(
                    model=model, site_profile=site_profile, deadline=deadline, priority=priority, paths={}
                ) as stream,
                task_group() as group,
            ):
                group.create_task(_send_all(stream, crops))
                async for response in stream.answers():
                    provenances.append(response.provenance)
                    outcomes |= {int(cell.cell_id): _outcome(cell) for cell in response.cells}
        return NamedCells(
            outcomes=tuple(outcomes[index] for index in range(len(cells))),
            provenance=merge_provenances(provenances),
        )

    async def _cut(self, cell: LocatedCell | RefusedCell, shape: CropShape) -> RgbImage | InvalidArgument:
        if isinstance(cell, RefusedCell):
            return cell.error
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._threads, _decode_and_cut, cell, shape, self._limits)
        except InvalidArgument as error:
            return error


def _decode_and_cut(cell: LocatedCell, shape: CropShape, limits: ImageLimits) -> RgbImage:
    image = decode(cell.image, limits=limits, field=f"{cell.path}.image")
    height, width = image.shape[:2]
    box = cell.box or _whole(width, height, shape.margin)
    center_x, center_y = box.center
    if not (center_x < width and center_y < height):
        raise InvalidArgument(
            f"{cell.path}.box",
            f"centre at {center_x:g}, {center_y:g} px",
            f"a centre in the image of {width}x{height} px",
        )
    return cut_crop(image, box, size=shape.size_px, margin=shape.margin)


def _whole(width: int, height: int, margin: float) -> Box:
    """The box around the image's centre that, with the margin, gives a crop as wide as the image's longer side."""
    half = max(width, height) / (1 + 2 * margin) / 2
    return Box(width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half)


def _crop(cell_id: str, pixels: RgbImage) -> cells_pb2.Crop:
    return cells_pb2.Crop(
        cell_id=cell_id,
        size_px=pixels.shape[0],
        encoding=cells_pb2.CROP_ENCODING_RAW_RGB8,
        data=pixels.tobytes(),
    )


async def _send_all(
    stream: CellStream[classifier_pb2.ClassifyResponse], cells: Sequence[classifier_pb2.CellToClassify]
) -> None:
    await stream.send(cells)
    await stream.finish()


def _outcome(cell: classifier_pb2.ClassifiedCell) -> Outcome:
    try:
        return classification_of(cell)
    except DomainError as error:
        return error
