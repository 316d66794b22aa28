"""A picture of a field's cells, each beside the same crop with its heat map over it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hemaserve.contact_sheet import contact_sheet
from hemaserve.geometry import FloatArray
from hemaserve.heat_map import scaled
from hemaserve.imaging import RgbImage, resize
from hemaserve.picture import NOTICE, strip_text

MEANING: Final = (
    "Orange: what the networks went by for this name, most where it is deepest. Not whether it is right."
)

_CROP_PX: Final = 160
_CELLS_IN_A_ROW: Final = 3
_HEAT: Final = np.array((213, 94, 0), np.float32)
"""Vermilion of Okabe and Ito's palette, see `hemaserve.picture`; over grey it is no colour of a stain."""
_MOST_COVERED: Final = 0.85
_CONTRAST: Final = 0.65
_PAPER: Final = (255, 255, 255)
_INK: Final = (34, 34, 34)
_PAD: Final = 6
_LINE_PX: Final = 20
_FONT_PX: Final = 13


@dataclass(frozen=True, slots=True)
class ShownCell:
    """A cell of the picture.

    Attributes:
        caption: its name and probability.
        crop: uint8 [size, size, 3] RGB.
        heat: float32 [h, w], 0 to 1, see `hemaserve.results.Explanation`.
    """

    caption: str
    crop: RgbImage
    heat: FloatArray


def overlay(crop: RgbImage, heat: FloatArray) -> RgbImage:
    """A crop in grey, uint8 [size, size, 3] as the crop is, coloured the more the greater the map is there."""
    size = len(crop)
    # Lightened, because the colour would be lost on a dark nucleus.
    dark = 255 - np.asarray(Image.fromarray(crop).convert("L"), np.float32)[..., None]
    grey = 255 - _CONTRAST * dark
    covered = _MOST_COVERED * np.clip(scaled(heat, size, size), 0, 1)[..., None]
    return np.asarray((grey * (1 - covered) + _HEAT * covered).round(), np.uint8)


def explanation_sheet(cells: Sequence[ShownCell], *, title: str = "") -> Image.Image:
    """The picture of at least one cell, with a line that says what the maps mean, and the notice.

    Args:
        title: written behind the notice as far as there is room, e.g. the name of the field's file.
    """
    tiles = [_tile(cell) for cell in cells]
    width, height = tiles[0].width + _PAD, tiles[0].height + _PAD
    columns = min(len(tiles), _CELLS_IN_A_ROW)
    rows = -(-len(tiles) // columns)
    font = ImageFont.load_default(_FONT_PX)
    lines = _wrapped(MEANING, columns * width - 2 * _PAD, font)
    lines += _wrapped(NOTICE, columns * width - 2 * _PAD, font)
    sheet = Image.new("RGB", (columns * width, rows * height + len(lines) * _LINE_PX + 2 * _PAD), _PAPER)
    for index, tile in enumerate(tiles):
        sheet.paste(tile, (index % columns * width, index // columns * height))
    pen = ImageDraw.Draw(sheet)
    room = sheet.width - 2 * _PAD
    if lines[-1] == NOTICE:
        lines[-1] = strip_text(title, lambda text: pen.textlength(text, font) <= room)
    for number, line in enumerate(lines):
        top = rows * height + _PAD + number * _LINE_PX
        pen.text((_PAD, top), line, fill=_INK, font=font)
    return sheet


def _tile(cell: ShownCell) -> Image.Image:
    crop = resize(cell.crop, (_CROP_PX, _CROP_PX))
    return contact_sheet([(cell.caption, (crop, overlay(crop, cell.heat)))])


def _wrapped(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """The words of a text in lines of at most `width` px."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
