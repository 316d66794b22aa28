"""From the crops of a request to the pixels that a network takes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hemaserve.crops import CropEncoding
from hemaserve.errors import InvalidArgument
from hemaserve.image_files.facts import ImageLimits
from hemaserve.imaging import RgbImage, decode, resize

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


def read_crops(
    crops: Sequence[EncodedCrop], *, size: int, limits: CropLimits
) -> tuple[CropBatch, dict[int, InvalidArgument]]:
    """The crops that can be read, in their order and scaled to `size`, and by index why the others cannot."""
    batch = np.empty((len(crops), size, size, 3), np.uint8)
    errors: dict[int, InvalidArgument] = {}
    for index, crop in enumerate(crops):
        try:
            batch[index - len(errors)] = read_crop(crop, size=size, limits=limits)
        except InvalidArgument as error:
            errors[index] = error
    return batch[: len(crops) - len(errors)], errors


def read_crop(crop: EncodedCrop, *, size: int, limits: CropLimits) -> RgbImage:
    """The pixels of one crop, scaled to the model's size: uint8 [size, size, 3] RGB.

    Raises:
        InvalidArgument: the crop is missing, damaged, not square, not of the size stated, or beyond `limits`.
    """
    if crop.encoding in (None, CropEncoding.NONE):
        raise InvalidArgument(f"{crop.field}.encoding", "no pixels", "RAW_RGB8, PNG or JPEG")
    if not crop.data:
        raise InvalidArgument(f"{crop.field}.data", "no bytes", "a crop's pixels", reason="IMAGE_EMPTY")
    raw = crop.encoding is CropEncoding.RAW_RGB8
    pixels = _raw(crop, limits) if raw else _file(crop, crop.encoding, limits)
    return pixels if len(pixels) == size else resize(pixels, (size, size))


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


def _file(crop: EncodedCrop, encoding: CropEncoding, limits: CropLimits) -> RgbImage:
    field = f"{crop.field}.data"
    if not crop.data.startswith(_MAGIC[encoding]):
        raise InvalidArgument(field, "another format", f"{encoding.name}, as the encoding says")
    pixels = decode(crop.data, limits=limits.image_limits, field=field)
    height, width = pixels.shape[:2]
    if width != height:
        raise InvalidArgument(field, f"{width}x{height} px", "a square")
    if crop.size_px not in (0, width):
        allowed = f"{width} px, the file's, or 0"
        raise InvalidArgument(f"{crop.field}.size_px", f"{crop.size_px} px", allowed)
    return pixels
