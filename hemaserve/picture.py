"""Annotated pictures: a field with a box around each cell, its name and probability, a legend, and a warning.

Colours are fixed for each type, and told apart with impaired colour vision too (Okabe and Ito's palette,
https://jfly.uni-koeln.de/color/). Unidentified cells are dashed and grey with a question mark. What the leukemia screen
flagged has a second, outer frame and an exclamation mark: a reason to look, whatever the cell's name.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from hemaserve.cells import FACTS, CellType, Kind
from hemaserve.geometry import Box
from hemaserve.imaging import RgbImage
from hemaserve.label_places import place_labels
from hemaserve.results import Cell, FieldResult

Colour = tuple[int, int, int]

_C = CellType
COLOURS: Final[Mapping[CellType, Colour]] = MappingProxyType(
    {
        _C.NEUTROPHIL: (0, 114, 178),
        _C.LYMPHOCYTE: (0, 158, 115),
        _C.MONOCYTE: (204, 121, 167),
        _C.EOSINOPHIL: (213, 94, 0),
        _C.BASOPHIL: (73, 46, 140),
        _C.IMMATURE_GRANULOCYTE: (86, 180, 233),
        _C.ERYTHROBLAST: (240, 228, 66),
        _C.PLATELET: (230, 159, 0),
        _C.BLAST: (150, 0, 24),
    }
)
"""By primary type; others are drawn black."""

UNIDENTIFIED: Final[Colour] = (110, 110, 110)
FLAGGED: Final[Colour] = (204, 0, 0)
_OTHER: Final[Colour] = (0, 0, 0)
_PAPER: Final[Colour] = (255, 255, 255)
_INK: Final[Colour] = (34, 34, 34)
NOTICE: Final = "Preliminary - research use only, not a medical device"


@dataclass(frozen=True, slots=True)
class _Style:
    """Sizes in pixels, all from the field's size: readable at any."""

    font: ImageFont.FreeTypeFont | ImageFont.ImageFont
    text_height: int
    line: int
    pad: int

    @staticmethod
    def for_field(width: int, height: int) -> "_Style":
        # Slower than the field: a larger field has more cells rather than larger ones.
        text = max(11, round(0.6 * min(width, height) ** 0.5))
        return _Style(ImageFont.load_default(text), text, max(2, round(text / 6)), max(2, round(text / 4)))


def canvas_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the picture of a field of `width` x `height` px: the field is at its top left, unscaled."""
    style = _Style.for_field(width, height)
    return max(width, _MIN_WIDTH_EM * style.text_height), height + _strip_height(style)


_UNIDENTIFIED_TITLE: Final = "Unidentified"
_MIN_WIDTH_EM: Final = 40
_LEGEND_ROWS: Final = 2


def _strip_height(style: _Style) -> int:
    row = style.text_height + 2 * style.pad
    return (_LEGEND_ROWS + 1) * row + 2 * style.pad


def annotate(image: RgbImage, result: FieldResult, *, title: str = "") -> Image.Image:
    """Draw what was found in a field.

    Args:
        image: the field as displayed, uint8 [height, width, 3] RGB.
        result: the field's result; its boxes are in the image's pixels.
        title: written into the strip below the field, e.g. "synthetic field".

    Returns:
        An RGB picture of `canvas_size(width, height)`: the field, below it the legend with counts and the notice.
    """
    height, width = image.shape[:2]
    style = _Style.for_field(width, height)
    picture = Image.new("RGB", canvas_size(width, height), _PAPER)
    picture.paste(Image.fromarray(image), (0, 0))
    draw = ImageDraw.Draw(picture)
    entries = [(f"{text} {count}", colour) for text, colour, count in legend(result.cells)]
    if result.screen is not None and result.screen.flagged:
        draw.rectangle((0, 0, width - 1, height - 1), outline=FLAGGED, width=2 * style.line)
        entries.append((f"Field to look at {result.screen.probability:.0%}", FLAGGED))
    # The best detections come first: drawn last, they lie on top, and have the first choice of a place for the label.
    for cell in reversed(result.cells):
        if cell.flagged:
            _draw_flag(draw, cell.box, (width, height), style)
        _draw_box(draw, cell.box, colour_of(cell), style, dashed=not cell.identified)
    _draw_labels(draw, result.cells, (width, height), style)
    _draw_strip(draw, entries, (width, height), picture.size, style, title)
    return picture


def colour_of(cell: Cell) -> Colour:
    """The colour of a cell's box."""
    if not cell.identified or cell.classification is None or cell.classification.primary_type is None:
        return UNIDENTIFIED
    return COLOURS.get(cell.classification.primary_type, _OTHER)


def label_of(cell: Cell) -> str:
    """The name and probability next to a cell's box; for an unidentified one a question mark and the best guess.

    A cell that the leukemia screen flagged has an exclamation mark and the screen's probability besides.
    """
    if cell.screen is not None and cell.screen.flagged:
        return f"{_name_of(cell)} ! {cell.screen.probability:.0%}"
    return _name_of(cell)


def _name_of(cell: Cell) -> str:
    said = cell.classification
    if said is None or said.type is None:
        return "?" if cell.kind in (Kind.WBC, None) else cell.kind.value.upper()
    text = f"{FACTS[said.type].title} {said.probability:.0%}"
    return text if said.identified else f"? {text}"


def legend(cells: Iterable[Cell]) -> list[tuple[str, Colour, int]]:
    """Title, colour and count of each primary type that occurs, in the order of reporting, unidentified ones last.

    Then those to look at, which are among the others: what the leukemia screen flagged.
    """
    cells = list(cells)
    counts = Counter(
        cell.classification.primary_type
        for cell in cells
        if cell.identified and cell.classification is not None
    )
    rows = [
        (FACTS[cell_type].title, COLOURS.get(cell_type, _OTHER), counts[cell_type])
        for cell_type in CellType
        if counts[cell_type]
    ]
    unidentified = sum(not cell.identified for cell in cells)
    flagged = sum(cell.flagged for cell in cells)
    if unidentified:
        rows.append((_UNIDENTIFIED_TITLE, UNIDENTIFIED, unidentified))
    if flagged:
        rows.append(("To look at (!)", FLAGGED, flagged))
    return rows


def _draw_flag(draw: ImageDraw.ImageDraw, box: Box, field: tuple[int, int], style: _Style) -> None:
    """The outer frame of a flagged cell, inside the field; the box itself is drawn over it."""
    away = 2 * style.line + 1
    x0, y0 = max(box.x0 - away, 0), max(box.y0 - away, 0)
    x1, y1 = min(box.x1 + away, field[0] - 1), min(box.y1 + away, field[1] - 1)
    draw.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=FLAGGED, width=style.line)


def _draw_box(draw: ImageDraw.ImageDraw, box: Box, colour: Colour, style: _Style, *, dashed: bool) -> None:
    # White on both sides keeps a box visible on every stain.
    edges = (box.x0, box.y0, max(box.x0, box.x1 - 1), max(box.y0, box.y1 - 1))
    halo = 1
    grown = (edges[0] - halo, edges[1] - halo, edges[2] + halo, edges[3] + halo)
    draw.rectangle(grown, outline=_PAPER, width=style.line + 2 * halo)
    if not dashed:
        draw.rectangle(edges, outline=colour, width=style.line)
        return
    x0, y0, x1, y1 = edges
    dash = 3 * style.line
    inner = style.line / 2
    for start, end in (
        ((x0, y0 + inner), (x1, y0 + inner)),
        ((x1 - inner, y0), (x1 - inner, y1)),
        ((x1, y1 - inner), (x0, y1 - inner)),
        ((x0 + inner, y1), (x0 + inner, y0)),
    ):
        _draw_dashes(draw, start, end, dash, colour, style.line)


def _draw_dashes(
    draw: ImageDraw.ImageDraw,
    start: tuple[float, float],
    end: tuple[float, float],
    dash: int,
    colour: Colour,
    line: int,
) -> None:
    length = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
    if length < 1:
        return
    step = ((end[0] - start[0]) / length, (end[1] - start[1]) / length)
    for at in range(0, round(length), 2 * dash):
        until = min(at + dash, length)
        draw.line(
            (
                start[0] + step[0] * at,
                start[1] + step[1] * at,
                start[0] + step[0] * until,
                start[1] + step[1] * until,
            ),
            fill=colour,
            width=line,
        )


def _draw_labels(
    draw: ImageDraw.ImageDraw, cells: Sequence[Cell], field: tuple[int, int], style: _Style
) -> None:
    texts = [label_of(cell) for cell in cells]
    height = style.text_height + 2 * style.pad
    sizes = [(round(draw.textlength(text, style.font)) + 2 * style.pad, height) for text in texts]
    places = place_labels([cell.box for cell in cells], sizes, field)
    for cell, text, place in reversed(list(zip(cells, texts, places, strict=True))):
        colour = colour_of(cell)
        draw.rectangle((place.x0, place.y0, place.x1 - 1, place.y1 - 1), fill=colour, outline=_PAPER)
        middle = (place.x0 + style.pad, (place.y0 + place.y1) / 2)
        draw.text(middle, text, fill=_readable_on(colour), font=style.font, anchor="lm")


def _readable_on(colour: Colour) -> Colour:
    # Relative luminance, ITU-R BT.709.
    luminance = (0.2126 * colour[0] + 0.7152 * colour[1] + 0.0722 * colour[2]) / 255
    return _INK if luminance > 0.5 else _PAPER


def _draw_strip(
    draw: ImageDraw.ImageDraw,
    entries: Sequence[tuple[str, Colour]],
    field: tuple[int, int],
    size: tuple[int, int],
    style: _Style,
    title: str,
) -> None:
    """The legend and the notice below the field."""
    row = style.text_height + 2 * style.pad
    x, y = 2 * style.pad, field[1] + 2 * style.pad
    for words, colour in entries or [("No white cells", _PAPER)]:
        width = style.text_height + style.pad + round(draw.textlength(words, style.font)) + 4 * style.pad
        if x + width > size[0] and x > 2 * style.pad:
            x, y = 2 * style.pad, y + row
        if entries:
            swatch = (x, y + style.pad, x + style.text_height, y + style.pad + style.text_height)
            hollow = words.startswith(_UNIDENTIFIED_TITLE) or colour == FLAGGED
            draw.rectangle(swatch, fill=_PAPER if hollow else colour, outline=colour, width=style.line)
        draw.text(
            (x + style.text_height + style.pad, y + row / 2), words, fill=_INK, font=style.font, anchor="lm"
        )
        x += width
    room = size[0] - 4 * style.pad
    bottom = size[1] - style.pad - row / 2
    words = strip_text(title, lambda text: draw.textlength(text, style.font) <= room)
    draw.text((2 * style.pad, bottom), words, fill=_INK, font=style.font, anchor="lm")


def strip_text(title: str, fits: Callable[[str], bool]) -> str:
    """The notice, and as much of the title as fits behind it."""
    if not title:
        return NOTICE
    shortened = (f"{title[:end]}..." for end in range(len(title) - 1, 0, -1))
    candidates = (f"{NOTICE} - {shown}" for shown in (title, *shortened))
    return next(filter(fits, candidates), NOTICE)
