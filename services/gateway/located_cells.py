"""Cells that the caller has located, and how they are cut out of their images."""

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass

from hemaserve.errors import InvalidArgument
from hemaserve.geometry import Box
from hemaserve.image_files.facts import ImageLimits
from hemaserve.imaging import RgbImage, crop_area, cut_crop
from hemaserve.v1 import cells_pb2
from services.gateway.models import CropShape
from services.runtime.decoders import Decoders


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


@dataclass(frozen=True, slots=True)
class CutCell:
    """A cell's crop.

    Attributes:
        pixels: uint8 [size, size, 3] RGB.
        area: the square of the image that it shows, which may reach beyond the image.
    """

    pixels: RgbImage
    area: Box


class CellCutter:
    """Cuts located cells out of their images.

    Args:
        decoders: make pixels of files.
        threads: where cells are cut, off the event loop.
        limits: what is accepted as an image.
        at_once: images in memory.
    """

    def __init__(self, decoders: Decoders, threads: Executor, limits: ImageLimits, *, at_once: int) -> None:
        self._decoders = decoders
        self._threads = threads
        self._limits = limits
        self._room = asyncio.Semaphore(at_once)

    async def cut(self, cell: LocatedCell | RefusedCell, shape: CropShape) -> CutCell:
        """The crop of a cell.

        Raises:
            InvalidArgument: the cell was refused, its image cannot be read, or its centre is not in it.
        """
        if isinstance(cell, RefusedCell):
            raise cell.error
        loop = asyncio.get_running_loop()
        async with self._room:
            image = await self._decoders.decode(cell.image, limits=self._limits, field=f"{cell.path}.image")
            return await loop.run_in_executor(self._threads, _cut, image, cell, shape)


def _cut(image: RgbImage, cell: LocatedCell, shape: CropShape) -> CutCell:
    height, width = image.shape[:2]
    box = cell.box or _whole(width, height, shape.margin)
    center_x, center_y = box.center
    if not (center_x < width and center_y < height):
        raise InvalidArgument(
            f"{cell.path}.box",
            f"centre at {center_x:g}, {center_y:g} px",
            f"a centre in the image of {width}x{height} px",
        )
    return CutCell(
        pixels=cut_crop(image, box, size=shape.size_px, margin=shape.margin),
        area=crop_area(box, width, height, margin=shape.margin),
    )


def _whole(width: int, height: int, margin: float) -> Box:
    """The box around the image's centre that, with the margin, gives a crop as wide as the image's longer side."""
    half = max(width, height) / (1 + 2 * margin) / 2
    return Box(width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half)


def crop_to_proto(cell_id: str, cell: CutCell) -> cells_pb2.Crop:
    """The crop for the classifier. Raw, so that it sees exactly these pixels."""
    return cells_pb2.Crop(
        cell_id=cell_id,
        size_px=cell.pixels.shape[0],
        encoding=cells_pb2.CROP_ENCODING_RAW_RGB8,
        data=cell.pixels.tobytes(),
    )
