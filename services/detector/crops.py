"""Cuts cells out of a field and encodes them for the way."""

import io
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from PIL import Image

from hemaserve.cells import Kind
from hemaserve.geometry import Box
from hemaserve.imaging import RgbImage, cut_crop

JPEG_QUALITY: Final = 95
"""What the contract says of CROP_ENCODING_JPEG."""


class CropEncoding(StrEnum):
    """How the pixels of a crop travel."""

    RAW_RGB8 = "raw_rgb8"
    PNG = "png"
    JPEG = "jpeg"


@dataclass(frozen=True, slots=True)
class CropOrder:
    """Which cells to cut out, and how.

    Attributes:
        kinds: the kinds to cut; none for detections only.
        encoding: how the pixels travel.
        size_px: side of a crop.
        margin: share of the box's longer side that is added on every side.
    """

    kinds: frozenset[Kind]
    encoding: CropEncoding
    size_px: int
    margin: float

    @property
    def most_bytes(self) -> int:
        """No crop is larger than this, in bytes: encoding adds at most a header to what it cannot shorten."""
        return self.size_px * self.size_px * 3 + 4096


def make_crop(image: RgbImage, box: Box, order: CropOrder) -> bytes:
    """The encoded square around `box`, as `hemaserve.imaging.cut_crop` cuts it."""
    return encode(cut_crop(image, box, size=order.size_px, margin=order.margin), order.encoding)


def encode(crop: RgbImage, encoding: CropEncoding) -> bytes:
    """`crop`, uint8 [size, size, 3], as bytes."""
    file = io.BytesIO()
    match encoding:
        case CropEncoding.RAW_RGB8:
            return crop.tobytes()
        case CropEncoding.PNG:
            Image.fromarray(crop).save(file, "PNG")
        case CropEncoding.JPEG:
            # Chroma at full resolution: the colour of granules is what cells are told apart by.
            Image.fromarray(crop).save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return file.getvalue()
