"""Safe decoding, letterboxing and the one function that cuts crops, for training and for serving alike.

Images are uint8 [height, width, 3] RGB arrays throughout.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemaserve.decoding import decode_to_rgb
from hemaserve.geometry import Box, FloatArray
from hemaserve.image_files.facts import ImageLimits

RgbImage = NDArray[np.uint8]

PREPROCESSING_VERSION: Final = "1"
"""Changes whenever the pixels that a network would get from the same field change."""

_LETTERBOX_GREY: Final = 114


def decode(data: bytes, *, limits: ImageLimits = ImageLimits(), field: str = "image") -> RgbImage:
    """Decode one still image to uint8 [height, width, 3] RGB, EXIF orientation applied, alpha laid on white.

    In this process: services have it done in processes of its own, see services/runtime/decoders.py.

    Args:
        data: a JPEG, PNG, TIFF, BMP or WebP file with 8 bits a channel, grey or RGB.
        field: the request's field to name in an error.

    Raises:
        InvalidArgument: the bytes are empty, no such file, damaged, or beyond `limits`.
    """
    return np.asarray(decode_to_rgb(data, limits=limits, field=field))


def resize(image: RgbImage, size: tuple[int, int], region: Box | None = None) -> RgbImage:
    """Scale `region` (default: all) of an image to `size` (width, height) px, bilinear and antialiased."""
    box = None if region is None else (region.x0, region.y0, region.x1, region.y1)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, box=box))


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How an image was laid into a square: network px = source px * scale + offset."""

    scale_x: float
    scale_y: float
    offset_x: int
    offset_y: int

    def to_source(self, boxes: FloatArray) -> FloatArray:
        """Boxes float32 [N, 4] in the square's pixels, as pixels of the source."""
        offset = np.array([self.offset_x, self.offset_y] * 2, np.float32)
        scale = np.array([self.scale_x, self.scale_y] * 2, np.float32)
        return np.asarray((boxes - offset) / scale, np.float32)


def letterbox(image: RgbImage, size: int) -> tuple[RgbImage, Letterbox]:
    """Scale an image to fit a square of `size` px, centred on grey, proportions kept.

    Returns:
        uint8 [size, size, 3], and the way back to source pixels.
    """
    height, width = image.shape[:2]
    scale = size / max(width, height)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    left, top = (size - new_width) // 2, (size - new_height) // 2
    square = np.full((size, size, 3), _LETTERBOX_GREY, np.uint8)
    square[top : top + new_height, left : left + new_width] = resize(image, (new_width, new_height))
    return square, Letterbox(new_width / width, new_height / height, left, top)


SCALE_BAR_SHARE: Final = 0.17
"""Share of a field's width and height, from the lower right corner, that holds the scale bar which some microscopes
burn into their photographs: those of the leukemia set begin at most 31 px from the right and 30 px from the bottom
of 224 px."""

_MOST_PIXELS_SAMPLED: Final = 500_000


def mask_scale_bar(image: RgbImage) -> RgbImage:
    """A copy of a field whose lower right corner is filled with the median colour of its bright half: its background.

    A burned-in scale bar tells one microscope from another, and goes with the class in some image sets.

    Args:
        image: uint8 [height, width, 3] RGB.
    """
    height, width = image.shape[:2]
    # Of a large field, a grid of its pixels says the same of its background as all of them.
    step = max(1, math.isqrt(height * width // _MOST_PIXELS_SAMPLED))
    sample = image[::step, ::step]
    brightness = sample.sum(axis=2, dtype=np.uint16)
    bright = sample[brightness >= np.median(brightness)]
    masked = image.copy()
    masked[_scale_bar_from(height) :, _scale_bar_from(width) :] = np.median(bright, axis=0).round()
    return masked


def touches_scale_bar(box: Box, width: int, height: int) -> bool:
    """Whether a box reaches into the corner that `mask_scale_bar` fills, in a field of `width` x `height` px."""
    return box.x1 > _scale_bar_from(width) and box.y1 > _scale_bar_from(height)


def _scale_bar_from(side: int) -> int:
    return math.floor(side * (1 - SCALE_BAR_SHARE))


def crop_area(box: Box, width: int, height: int, *, margin: float) -> Box:
    """The square around a cell that its crop shows, in the pixels of a field of `width` x `height` px.

    It is centred on the box, its side is the box's longer side plus `margin` of it on each side. It may reach beyond
    the field.

    Args:
        margin: share of the box's longer side that is added on every side, >= 0.
    """
    center_x, center_y = box.center
    # A box larger than the field would only repeat its edge pixels, at a cost in memory without bound.
    half = min(max(box.width, box.height), max(width, height)) * (0.5 + margin)
    return Box(center_x - half, center_y - half, center_x + half, center_y + half)


def cut_crop(image: RgbImage, box: Box, *, size: int, margin: float) -> RgbImage:
    """Cut the square around a cell and scale it: what every classifier is trained on and served.

    The square is `crop_area`. Beyond the field's edge the outermost pixels are repeated.

    Args:
        image: the field, uint8 [height, width, 3] RGB.
        box: the cell, in the field's pixels; its centre must lie in the field.
        size: side of the crop returned, in pixels.
        margin: share of the box's longer side that is added on every side, >= 0.

    Returns:
        uint8 [size, size, 3] RGB.

    Raises:
        ValueError: the box is empty or not finite, or its centre lies outside the field.
    """
    height, width = image.shape[:2]
    center_x, center_y = box.center
    if not (math.isfinite(max(box.width, box.height)) and box.width > 0 and box.height > 0):
        raise ValueError("the box must be finite and not empty")
    if not (0 <= center_x < width and 0 <= center_y < height):
        raise ValueError("the box's centre must lie in the field")
    area = crop_area(box, width, height, margin=margin)
    left, top = math.floor(area.x0), math.floor(area.y0)
    right, bottom = math.ceil(area.x1), math.ceil(area.y1)
    inside = image[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    missing = (
        (max(-top, 0), max(bottom - height, 0)),
        (max(-left, 0), max(right - width, 0)),
        (0, 0),
    )
    padded = np.pad(inside, missing, mode="edge") if any(map(any, missing)) else inside
    region = Box(area.x0 - left, area.y0 - top, area.x1 - left, area.y1 - top)
    return resize(np.ascontiguousarray(padded), (size, size), region)
