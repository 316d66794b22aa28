"""Decoding of one image file by Pillow. Loads neither NumPy nor anything else that a decoding process could spare.

Colour profiles are ignored: the networks learned from pixels as the files have them. See
docs/decisions/0018-hostile-input.md.
"""

import io
import re
from collections.abc import Callable
from typing import Final

from PIL import (
    BmpImagePlugin,
    Image,
    ImageFile,
    ImageOps,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from hemaserve.image_files.checks import check_file
from hemaserve.image_files.facts import ImageLimits, Refused, animated, check_size, damaged, unsupported_mode

PLUGINS: Final = (
    PpmImagePlugin,
    BmpImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)
"""Loaded here, so that Pillow does not look for all the others when it meets its first file."""

_MODES: Final = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
_SIXTEEN_BITS: Final = re.compile(r";16[BLN]")


def decode_to_rgb(
    data: bytes, *, limits: ImageLimits, field: str, sized: Callable[[int], None] = lambda _: None
) -> Image.Image:
    """One still image, of mode RGB, with its EXIF orientation applied and alpha laid on white.

    Args:
        sized: told the number of pixels before any is decoded.

    Raises:
        InvalidArgument: see `hemaserve.imaging.decode`.
        MemoryError: there is not enough memory for its pixels.
    """
    file_format = check_file(data, limits=limits, field=field)
    try:
        with Image.open(io.BytesIO(data), formats=(file_format,)) as image:
            _check_opened(image, limits)
            sized(image.width * image.height)
            # In place: a copy of a large field would be its memory twice.
            ImageOps.exif_transpose(image, in_place=True)
            return _to_rgb(image)
    except Refused as refused:
        raise refused.of(field) from None
    except MemoryError:
        raise
    # Pillow's plugins raise almost anything on damaged files; each means the same to the caller.
    except Exception as error:
        raise damaged().of(field) from error


def _check_opened(image: ImageFile.ImageFile, limits: ImageLimits) -> None:
    """What Pillow makes of the headers must be as harmless as what was read in them before."""
    check_size(*image.size, limits)
    if image.mode not in _MODES:
        raise unsupported_mode(f"colour mode {image.mode}")
    # Pillow widens or narrows some 16-bit files silently; only how their pixels are packed gives them away.
    if any(_SIXTEEN_BITS.search(str(tile)) for tile in image.tile):
        raise unsupported_mode("16 bits a channel")
    # A phone's JPEG may carry a preview or a gain map as further frames; its first one is the photograph.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise animated()


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        on_white = Image.new("RGBA", image.size, "white")
        on_white.alpha_composite(image.convert("RGBA"))
        image = on_white
    if image.mode == "RGB":
        image.load()
        return image
    return image.convert("RGB")
