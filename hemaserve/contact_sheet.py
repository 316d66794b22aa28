"""A picture of crops before and after a correction, one above the other: people would rather look."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from hemaserve.imaging import RgbImage

_PAPER: Final = (255, 255, 255)
_INK: Final = (34, 34, 34)
_CAPTION_PX: Final = 20
_GAP_PX: Final = 4
_FONT_PX: Final = 13


def contact_sheet(rows: Sequence[tuple[str, Sequence[RgbImage]]]) -> Image.Image:
    """A sheet with a caption above each row of crops.

    Args:
        rows: caption and crops, uint8 [size, size, 3] each; all of one size, and at least one in every row.
    """
    size = rows[0][1][0].shape[0]
    columns = max(len(crops) for _, crops in rows)
    step = size + _GAP_PX
    sheet = Image.new("RGB", (_GAP_PX + columns * step, len(rows) * (_CAPTION_PX + step)), _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_PX)
    for row, (caption, crops) in enumerate(rows):
        top = row * (_CAPTION_PX + step)
        pen.text((_GAP_PX, top + 2), caption, fill=_INK, font=font)
        strip = np.concatenate(
            [np.pad(crop, ((0, 0), (0, _GAP_PX), (0, 0)), constant_values=255) for crop in crops], 1
        )
        sheet.paste(Image.fromarray(strip), (_GAP_PX, top + _CAPTION_PX))
    return sheet
