"""Crops in the form that the caller wants them in."""

import io
from typing import Final

import numpy as np
from PIL import Image

from hemaserve.v1 import cells_pb2
from services.gateway.orders import CropForm

_JPEG_QUALITY: Final = 95
"""By the contract of CROP_ENCODING_JPEG."""


def encoded(crop: cells_pb2.Crop, form: CropForm) -> cells_pb2.Crop:
    """A RAW_RGB8 crop in another form: PNG without loss, JPEG of quality 95 with full colour resolution."""
    if form is CropForm.RAW_RGB8:
        return crop
    pixels = np.frombuffer(crop.data, np.uint8).reshape(crop.size_px, crop.size_px, 3)
    file = io.BytesIO()
    if form is CropForm.PNG:
        Image.fromarray(pixels).save(file, "PNG")
    else:
        Image.fromarray(pixels).save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return cells_pb2.Crop(
        cell_id=crop.cell_id,
        size_px=crop.size_px,
        encoding=cells_pb2.CropEncoding.Value(f"CROP_ENCODING_{form.name}"),
        data=file.getvalue(),
    )
