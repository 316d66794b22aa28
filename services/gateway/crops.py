"""Crops in the encoding that the caller wants them in."""

import numpy as np

from hemaserve.crops import CropEncoding, encode_crop
from hemaserve.v1 import cells_pb2
from services.runtime.translate import encoding_to_proto


def encoded(crop: cells_pb2.Crop, encoding: CropEncoding) -> cells_pb2.Crop:
    """A RAW_RGB8 crop in another encoding."""
    if encoding is CropEncoding.RAW_RGB8:
        return crop
    pixels = np.frombuffer(crop.data, np.uint8).reshape(crop.size_px, crop.size_px, 3)
    return cells_pb2.Crop(
        cell_id=crop.cell_id,
        size_px=crop.size_px,
        encoding=encoding_to_proto(encoding),
        data=encode_crop(pixels, encoding),
    )
