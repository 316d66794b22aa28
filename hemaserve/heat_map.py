"""Heat maps at other sizes: one way for services, evaluation and pictures. Pure."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hemaserve.geometry import FloatArray


def scaled(values: NDArray[np.floating[Any]], width: int, height: int) -> FloatArray:
    """A map [h, w] that covers a square evenly as float32 [height, width]: bilinear, antialiased where it shrinks."""
    image = Image.fromarray(np.asarray(values, np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
