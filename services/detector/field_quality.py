"""How sharp a field is, how bright its background and how deep its stain: three figures that drift when something is
wrong with the microscope, the camera or the stain. Pure.

Each is cheap, because only some of the pixels are looked at, and means something beside those of other fields of the
same laboratory only: they are held against a baseline, not against a limit.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemaserve.imaging import RgbImage

_WINDOWS: Final = 4
"""Windows on either axis that the focus is looked at in."""

_WINDOW_PX: Final = 48
_SAMPLE_SIDE: Final = 64
"""Pixels on either axis that colours are looked at in."""

_BACKGROUND: Final = 90
"""Percentile of brightness that is background: less than the brightest, which may be a glare."""

_STAINED: Final = 1
"""Percentile of brightness that is the nuclei of cells: more than the darkest, which may be dirt."""


@dataclass(frozen=True, slots=True)
class FieldQuality:
    """What is measured of a field.

    Attributes:
        focus: variance of the Laplacian of the green channel, in squared levels of 255, over some windows: the usual
            measure of sharpness (Pech-Pacheco et al. 2000, ICPR 3:314).
        background: brightness of the empty background in red, green and blue, 0 to 1.
        stain: optical density of the darkest pixels above the background, in red, green and blue.
    """

    focus: float
    background: tuple[float, float, float]
    stain: tuple[float, float, float]


def field_quality(image: RgbImage) -> FieldQuality:
    """The figures of a field, uint8 [height, width, 3] RGB."""
    height, width = image.shape[:2]
    thinned = image[:: max(1, height // _SAMPLE_SIDE), :: max(1, width // _SAMPLE_SIDE)].reshape(-1, 3)
    stained, background = np.percentile(thinned, (_STAINED, _BACKGROUND), axis=0)
    density = np.log10((background + 1) / (stained + 1))
    return FieldQuality(_focus(image[..., 1]), _triple(background / 255), _triple(density))


def _focus(channel: NDArray[np.uint8]) -> float:
    """Over windows spread evenly over the field, of full resolution: a smaller image would look sharp again."""
    height, width = channel.shape
    side_y, side_x = min(_WINDOW_PX, height), min(_WINDOW_PX, width)
    rows, columns = _starts(height, side_y), _starts(width, side_x)
    windows = [channel[y : y + side_y, x : x + side_x] for y in rows for x in columns]
    pixels = np.stack(windows).astype(np.int16)
    inner = pixels[:, 1:-1, 1:-1]
    around = pixels[:, :-2, 1:-1] + pixels[:, 2:, 1:-1] + pixels[:, 1:-1, :-2] + pixels[:, 1:-1, 2:]
    laplacian = around - 4 * inner
    return float(laplacian.var(dtype=np.float32)) if laplacian.size else 0.0


def _starts(length: int, side: int) -> list[int]:
    step = (length - side) / (_WINDOWS - 1)
    return sorted({round(step * window) for window in range(_WINDOWS)})


def _triple(values: NDArray[np.float64]) -> tuple[float, float, float]:
    red, green, blue = values.tolist()
    return red, green, blue
