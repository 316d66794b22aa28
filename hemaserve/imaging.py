"""Safe decoding, letterboxing and the one function that cuts crops, for training and for serving alike.

Images are uint8 [height, width, 3] RGB arrays throughout.
"""

import io
import math
import re
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from hemaserve.errors import InvalidArgument
from hemaserve.geometry import Box, FloatArray

RgbImage = NDArray[np.uint8]

PREPROCESSING_VERSION: Final = "1"
"""Changes whenever the pixels that a network would get from the same field change."""

FORMATS: Final = ("JPEG", "PNG", "TIFF", "BMP", "WEBP")
_MODES: Final = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
_SIXTEEN_BITS: Final = re.compile(r";16[BLN]")
_LETTERBOX_GREY: Final = 114


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """What `decode` accepts; checked on the header, before any pixel is decoded."""

    max_bytes: int = 64 * 2**20
    max_pixels: int = 64_000_000
    max_side_px: int = 16_384
    min_side_px: int = 16


def decode(data: bytes, *, limits: ImageLimits = ImageLimits(), field: str = "image") -> RgbImage:
    """Decode one still image to uint8 [height, width, 3] RGB, EXIF orientation applied, alpha laid on white.

    Args:
        data: a JPEG, PNG, TIFF, BMP or WebP file with 8 bits a channel, grey or RGB.
        field: the request's field to name in an error.

    Raises:
        InvalidArgument: the bytes are empty, no such file, damaged, or beyond `limits`.
    """
    if not data:
        raise InvalidArgument(field, "no bytes", "an image file", reason="IMAGE_EMPTY")
    if len(data) > limits.max_bytes:
        raise InvalidArgument(
            field, f"{len(data)} bytes", f"at most {limits.max_bytes} bytes", reason="IMAGE_TOO_LARGE"
        )
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_header(image, limits, field)
            # In place: a copy of a large field would be its memory twice.
            ImageOps.exif_transpose(image, in_place=True)
            return _to_rgb(image)
    except Image.DecompressionBombError:
        raise _too_large(field, "more pixels than any field has", limits) from None
    except UnidentifiedImageError:
        raise InvalidArgument(
            field, "not an image that can be read", ", ".join(FORMATS), reason="IMAGE_UNREADABLE"
        ) from None
    except InvalidArgument:
        raise
    # Pillow's plugins raise almost anything on damaged files; each means the same to the caller.
    except Exception as error:
        raise InvalidArgument(
            field, "a damaged or truncated image", "a complete image file", reason="IMAGE_DAMAGED"
        ) from error


def _too_large(field: str, value: str, limits: ImageLimits) -> InvalidArgument:
    allowed = f"at most {limits.max_side_px} px a side and {limits.max_pixels} px in all"
    return InvalidArgument(field, value, allowed, reason="IMAGE_TOO_LARGE")


def _check_header(image: ImageFile.ImageFile, limits: ImageLimits, field: str) -> None:
    width, height = image.size
    if max(width, height) > limits.max_side_px or width * height > limits.max_pixels:
        raise _too_large(field, f"{width}x{height} px", limits)
    if min(width, height) < limits.min_side_px:
        raise InvalidArgument(
            field,
            f"{width}x{height} px",
            f"at least {limits.min_side_px} px a side",
            reason="IMAGE_TOO_SMALL",
        )
    if image.mode not in _MODES:
        raise InvalidArgument(
            field,
            f"colour mode {image.mode}",
            "8-bit grey or RGB, with or without alpha",
            reason="IMAGE_MODE_UNSUPPORTED",
        )
    # Pillow widens or narrows some 16-bit files silently; only how their pixels are packed gives them away.
    if any(_SIXTEEN_BITS.search(str(tile)) for tile in image.tile):
        raise InvalidArgument(field, "16 bits a channel", "8 bits a channel", reason="IMAGE_MODE_UNSUPPORTED")
    # A phone's JPEG may carry a preview or a gain map as further frames; its first one is the photograph.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise InvalidArgument(field, "several frames", "one still image", reason="IMAGE_ANIMATED")


def _to_rgb(image: Image.Image) -> RgbImage:
    if image.has_transparency_data:
        on_white = Image.new("RGBA", image.size, "white")
        on_white.alpha_composite(image.convert("RGBA"))
        image = on_white
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


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
