"""Site profiles: a correction of the colours of one laboratory's photographs, and the file that holds it.

A profile is an affine map of optical density, `od' = matrix @ od + offset`, with `od = -ln((p + 1) / 256)` for a
channel's value p from 0 to 255. Dyes add up in optical density, not in brightness (Ruifrok & Johnston 2001, Anal.
Quant. Cytol. Histol. 23:291), so one matrix can exchange the dyes of one laboratory for those of another.
"""

import json
import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from hemaserve.imaging import RgbImage

FORMAT: Final = "hemaserve.site_profile.v1"
SUFFIX: Final = ".json"
MAX_BYTES: Final = 16_384
"""Largest file that is read: some ten times what a profile takes."""

NAME_RULE: Final = "1 to 64 of a-z, 0-9, '.', '_' and '-', a letter or digit first"
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

GAIN_RANGE: Final = (0.125, 8.0)
"""Least and greatest factor by which a correction may stretch any mixture of colours: its matrix's singular values."""
MAX_OFFSET: Final = 3.0
"""Greatest shift of a channel, in optical density; all of an 8-bit picture lies within 5.55."""
_MAX_COUNT: Final = 2**31 - 1

_CROPS_AT_ONCE: Final = 32

Vector = tuple[float, float, float]
Matrix = tuple[Vector, Vector, Vector]

DENSITY: Final[NDArray[np.float64]] = -np.log((np.arange(256) + 1) / 256)
"""Optical density of each 8-bit value, float64 [256]: `DENSITY[pixels]` is the optical density of an image."""


class UnusableProfile(ValueError):
    """A profile that cannot be used; the message says what is wrong with it, without the file's path."""


@dataclass(frozen=True, slots=True)
class ColourCorrection:
    """An affine map of optical density: `od' = matrix @ od + offset`, channels in the order R, G, B.

    Attributes:
        matrix: dimensionless, rows are the corrected channels; not singular, see `GAIN_RANGE`, and no mirror image.
        offset: optical density, see `MAX_OFFSET`.

    Raises:
        UnusableProfile: a number is not finite or out of range.
    """

    matrix: Matrix
    offset: Vector

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix)
        if matrix.shape != (3, 3) or len(self.offset) != 3:
            raise UnusableProfile("the matrix must be 3x3, and the offset must have 3 numbers")
        if not (np.isfinite(matrix).all() and all(map(math.isfinite, self.offset))):
            raise UnusableProfile("matrix and offset must be finite")
        low, high = GAIN_RANGE
        gains = np.linalg.svd(matrix, compute_uv=False)
        if gains.min() < low or gains.max() > high or np.linalg.det(matrix) <= 0:
            raise UnusableProfile(
                f"the matrix must stretch colours by {low:g} to {high:g}, without mirroring them"
            )
        if max(map(abs, self.offset)) > MAX_OFFSET:
            raise UnusableProfile(f"the offset must be from -{MAX_OFFSET:g} to {MAX_OFFSET:g}")


IDENTITY: Final = ColourCorrection(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), (0.0, 0.0, 0.0))


@dataclass(frozen=True, slots=True)
class SiteProfile:
    """What was learned from a laboratory's fields.

    Attributes:
        name: what requests call it; see `NAME_RULE`.
        created_at: when it was learned; with a time zone.
        fields: how many fields it was learned from.
        white_cells: how many white cells these showed.
        correction: what is done to the laboratory's crops.

    Raises:
        UnusableProfile: the name, a number or the time is none that a profile may have.
    """

    name: str
    created_at: datetime
    fields: int
    white_cells: int
    correction: ColourCorrection

    def __post_init__(self) -> None:
        if not is_name(self.name):
            raise UnusableProfile(f"the name must be {NAME_RULE}")
        if self.created_at.utcoffset() is None:
            raise UnusableProfile("created_at must have a time zone")
        if not (0 <= self.fields <= _MAX_COUNT and 0 <= self.white_cells <= _MAX_COUNT):
            raise UnusableProfile("fields and white_cells must be counts")


def is_name(text: str) -> bool:
    """Whether a profile may have this name; a name is never a path."""
    return _NAME.fullmatch(text) is not None


def correct(correction: ColourCorrection, crops: RgbImage) -> RgbImage:
    """The crops as the reference laboratory would have photographed them.

    The same pixel always becomes the same pixel, whatever other crops there are. Takes some 40 bytes of memory for each
    pixel of 32 crops, beside the result.

    Args:
        crops: uint8 [N, size, size, 3] RGB.

    Returns:
        uint8 [N, size, size, 3]; equal to `crops` for the identity.
    """
    # exp(-(matrix @ od)) is a product of three factors, each of one 8-bit value: look-ups, and no logarithm of pixels.
    factors = np.exp(-np.array(correction.matrix)[:, :, None] * DENSITY)
    factors[:, 0] *= 256 * np.exp(-np.array(correction.offset))[:, None]
    corrected = np.empty_like(crops)
    for start in range(0, len(crops), _CROPS_AT_ONCE):
        part = slice(start, start + _CROPS_AT_ONCE)
        red, green, blue = np.moveaxis(crops[part], -1, 0)
        for channel, (of_red, of_green, of_blue) in enumerate(factors):
            light = of_red[red] * of_green[green] * of_blue[blue]
            corrected[part, ..., channel] = np.clip(np.rint(light - 1), 0, 255)
    return corrected


def to_json(profile: SiteProfile) -> str:
    """The profile as the text of its file."""
    document = {
        "format": FORMAT,
        "name": profile.name,
        "created_at": profile.created_at.isoformat(),
        "fields": profile.fields,
        "white_cells": profile.white_cells,
        "matrix": profile.correction.matrix,
        "offset": profile.correction.offset,
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def from_json(data: bytes) -> SiteProfile:
    """The profile in a file's bytes, every value checked.

    Raises:
        UnusableProfile: it is none, or one that must not be used.
    """
    if len(data) > MAX_BYTES:
        raise UnusableProfile(f"more than {MAX_BYTES} bytes")
    try:
        document = json.loads(data, parse_constant=_refuse_constant)
    # RecursionError: brackets nested too deep.
    except (ValueError, RecursionError):
        raise UnusableProfile("not JSON") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UnusableProfile(f"not of the format {FORMAT}")
    matrix = _typed(document, "matrix", list)
    if len(matrix) != 3:
        raise UnusableProfile("matrix: not three rows")
    first, second, third = (_vector(row, "matrix") for row in matrix)
    return SiteProfile(
        name=_typed(document, "name", str),
        created_at=_time(_typed(document, "created_at", str)),
        fields=_typed(document, "fields", int),
        white_cells=_typed(document, "white_cells", int),
        correction=ColourCorrection((first, second, third), _vector(document.get("offset"), "offset")),
    )


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _typed(document: dict[str, Any], key: str, kind: type) -> Any:
    value = document.get(key)
    # Exactly: true is an int to Python.
    if type(value) is not kind:
        raise UnusableProfile(f"{key}: missing or of another type")
    return value


def _vector(value: object, key: str) -> Vector:
    if (
        not isinstance(value, list)
        or len(value) != 3
        or any(type(item) not in {int, float} for item in value)
    ):
        raise UnusableProfile(f"{key}: not three numbers")
    try:
        x, y, z = map(float, value)
    except OverflowError:
        raise UnusableProfile(f"{key}: a number is too large") from None
    return x, y, z


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise UnusableProfile("created_at: not a time as ISO 8601 writes it") from None
