"""From the crops of a request to the pixels that a network takes."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hemaserve.crops import CropEncoding
from hemaserve.errors import InvalidArgument
from hemaserve.image_files.facts import ImageLimits
from hemaserve.imaging import RgbImage, resize
from services.runtime.decoders import Decoders, ImageFile, Outcome

CropBatch = NDArray[np.uint8]
"""Crops of one size: uint8 [N, size, size, 3] RGB."""

_MAGIC = {CropEncoding.PNG: b"\x89PNG\r\n\x1a\n", CropEncoding.JPEG: b"\xff\xd8\xff"}


@dataclass(frozen=True, slots=True)
class EncodedCrop:
    """One crop as it came.

    Attributes:
        field: path of the crop in the request, e.g. `cells[3].crop`, for errors.
        size_px: side of the square as the caller states it; 0 where an encoded file is left to say it.
        encoding: how `data` is encoded; None when the caller's choice is one that we do not know.
        data: the pixels or the file.
    """

    field: str
    size_px: int
    encoding: CropEncoding | None
    data: bytes


@dataclass(frozen=True, slots=True)
class CropLimits:
    """What a crop may be, before it is scaled to the model's size.

    Attributes:
        min_side_px: least side of the square, in pixels.
        max_side_px: greatest side of the square, in pixels.
    """

    min_side_px: int
    max_side_px: int

    @property
    def image_limits(self) -> ImageLimits:
        """The same for files: none needs more bytes than its raw pixels and some room for metadata."""
        pixels = self.max_side_px**2
        return ImageLimits(
            max_bytes=3 * pixels + 65_536,
            max_pixels=pixels,
            max_side_px=self.max_side_px,
            min_side_px=self.min_side_px,
        )


class CropReader:
    """Makes pixels of crops.

    Args:
        decoders: make pixels of those that are files.
        limits: what a crop may be.
    """

    def __init__(self, decoders: Decoders, limits: CropLimits) -> None:
        self._decoders = decoders
        self._limits = limits

    async def read(
        self, crops: Sequence[EncodedCrop], *, size: int
    ) -> tuple[CropBatch, dict[int, InvalidArgument]]:
        """The crops that can be read, in their order and scaled to `size`, and by index why the others cannot."""
        batch = np.empty((len(crops), size, size, 3), np.uint8)
        if all(crop.size_px == size for crop in crops):
            errors, files = read_raw(crops, batch, self._limits)
        else:
            # Scaling some hundred crops takes long enough to hold up the other streams; copying them does not.
            errors, files = await asyncio.to_thread(read_raw, crops, batch, self._limits)
        at = 0
        parts = self._decoders.decode_each(
            [ImageFile(crops[index].data, f"{crops[index].field}.data") for index in files],
            limits=self._limits.image_limits,
        )
        async for part in parts:
            indices = files[at : at + len(part)]
            errors |= await asyncio.to_thread(_take, crops, batch, dict(zip(indices, part, strict=True)))
            at += len(part)
        if not errors:
            return batch, errors
        return batch[[index for index in range(len(crops)) if index not in errors]], errors

    async def read_one(self, crop: EncodedCrop, *, size: int) -> RgbImage:
        """The pixels of one crop, scaled to the model's size: uint8 [size, size, 3] RGB.

        Raises:
            InvalidArgument: the crop is missing, damaged, not square, not of the size stated, or beyond the limits.
        """
        batch, errors = await self.read([crop], size=size)
        if errors:
            raise errors[0]
        return np.asarray(batch[0])


def read_raw(
    crops: Sequence[EncodedCrop], batch: CropBatch, limits: CropLimits
) -> tuple[dict[int, InvalidArgument], list[int]]:
    """Fills in the crops that are raw; by index what is wrong with others, and the indices of those that are files."""
    errors: dict[int, InvalidArgument] = {}
    files: list[int] = []
    for index, crop in enumerate(crops):
        try:
            if _is_raw(crop):
                _fill(batch, index, _raw(crop, limits))
            else:
                files.append(index)
        except InvalidArgument as error:
            errors[index] = error
    return errors, files


def _take(
    crops: Sequence[EncodedCrop], batch: CropBatch, decoded: Mapping[int, Outcome]
) -> dict[int, InvalidArgument]:
    """Fills in what was decoded; by index what is wrong with others."""
    errors: dict[int, InvalidArgument] = {}
    for index, outcome in decoded.items():
        try:
            _fill(batch, index, _square(crops[index], outcome))
        except InvalidArgument as error:
            errors[index] = error
    return errors


def _fill(batch: CropBatch, index: int, pixels: RgbImage) -> None:
    size = batch.shape[1]
    batch[index] = pixels if len(pixels) == size else resize(pixels, (size, size))


def _is_raw(crop: EncodedCrop) -> bool:
    """Whether a crop is pixels and no file.

    Raises:
        InvalidArgument: it is neither.
    """
    if crop.encoding is None or crop.encoding is CropEncoding.NONE:
        raise InvalidArgument(f"{crop.field}.encoding", "no pixels", "RAW_RGB8, PNG or JPEG")
    if not crop.data:
        raise InvalidArgument(f"{crop.field}.data", "no bytes", "a crop's pixels", reason="IMAGE_EMPTY")
    if crop.encoding is CropEncoding.RAW_RGB8:
        return True
    if not crop.data.startswith(_MAGIC[crop.encoding]):
        allowed = f"{crop.encoding.name}, as the encoding says"
        raise InvalidArgument(f"{crop.field}.data", "another format", allowed)
    return False


def _raw(crop: EncodedCrop, limits: CropLimits) -> RgbImage:
    side = crop.size_px
    if not limits.min_side_px <= side <= limits.max_side_px:
        allowed = f"{limits.min_side_px} to {limits.max_side_px} px"
        raise InvalidArgument(f"{crop.field}.size_px", f"{side} px", allowed)
    expected = side * side * 3
    if len(crop.data) != expected:
        allowed = f"{expected} bytes for {side}x{side} px of RGB"
        raise InvalidArgument(f"{crop.field}.data", f"{len(crop.data)} bytes", allowed)
    return np.frombuffer(crop.data, np.uint8).reshape(side, side, 3)


def _square(crop: EncodedCrop, outcome: Outcome) -> RgbImage:
    if isinstance(outcome, InvalidArgument):
        raise outcome
    height, width = outcome.shape[:2]
    if width != height:
        raise InvalidArgument(f"{crop.field}.data", f"{width}x{height} px", "a square")
    if crop.size_px not in (0, width):
        allowed = f"{width} px, the file's, or 0"
        raise InvalidArgument(f"{crop.field}.size_px", f"{crop.size_px} px", allowed)
    return outcome
