"""How the crops of cells travel: one set of encodings, and one encoder, for all services and the client."""

import io
from enum import StrEnum
from typing import Final

from PIL import Image

from hemaserve.imaging import RgbImage

JPEG_QUALITY: Final = 95
"""What the contract says of CROP_ENCODING_JPEG."""


class CropEncoding(StrEnum):
    """How the pixels of a crop travel; NONE where no crop is wanted."""

    NONE = "none"
    RAW_RGB8 = "raw_rgb8"
    PNG = "png"
    JPEG = "jpeg"


def encode_crop(crop: RgbImage, encoding: CropEncoding) -> bytes:
    """`crop`, uint8 [size, size, 3], as bytes; none for `NONE`."""
    file = io.BytesIO()
    match encoding:
        case CropEncoding.NONE:
            return b""
        case CropEncoding.RAW_RGB8:
            return crop.tobytes()
        case CropEncoding.PNG:
            Image.fromarray(crop).save(file, "PNG")
        case CropEncoding.JPEG:
            # Chroma at full resolution: the colour of granules is what cells are told apart by.
            Image.fromarray(crop).save(file, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return file.getvalue()
