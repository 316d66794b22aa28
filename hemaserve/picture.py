"""Annotated pictures: a field with a box around each cell, its name and probability, a legend, and a warning.

Colours are fixed for each type, and told apart with impaired colour vision too (Okabe and Ito's palette,
https://jfly.uni-koeln.de/color/). Unidentified cells are dashed and grey with a question mark.
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
    # The best detections come first: drawn last, they lie on top, and have the first choice of a place for the label.
    for cell in reversed(result.cells):
        _draw_box(draw, cell.box, colour_of(cell), style, dashed=not cell.identified)
    _draw_labels(draw, result.cells, (width, height), style)
    _draw_strip(draw, legend(result.cells), (width, height), picture.size, style, title)
    return picture


def colour_of(cell: Cell) -> Colour:
    """The colour of a cell's box."""
    if not cell.identified or cell.classification is None or cell.classification.primary_type is None:
        return UNIDENTIFIED
    return COLOURS.get(cell.classification.primary_type, _OTHER)


def label_of(cell: Cell) -> str:
    """The name and probability next to a cell's box; for an unidentified one a question mark and the best guess."""
    said = cell.classification
    if said is None or said.type is None:
        return "?" if cell.kind in (Kind.WBC, None) else cell.kind.value.upper()
    text = f"{FACTS[said.type].title} {said.probability:.0%}"
    return text if said.identified else f"? {text}"


def legend(cells: Iterable[Cell]) -> list[tuple[str, Colour, int]]:
    """Title, colour and count of each primary type that occurs, in the order of reporting, unidentified ones last."""
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
    return [*rows, ("Unidentified", UNIDENTIFIED, unidentified)] if unidentified else rows


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


def place_labels(boxes: Sequence[Box], sizes: Sequence[tuple[int, int]], field: tuple[int, int]) -> list[Box]:
    """Where labels go: each inside the field, next to its box, off other labels and other boxes as far as possible.

    Args:
        boxes: the cells; earlier ones choose first.
        sizes: width and height of each label in pixels.
        field: width and height of the field in pixels.
    """
    placed: list[Box] = []
    for index, (box, (width, height)) in enumerate(zip(boxes, sizes, strict=True)):
        places = _places(box, width, height, field)
        others = [*boxes[:index], *boxes[index + 1 :]]
        # Labels hide each other, which is worse than hiding a part of another cell, and worst of all the own cell.
        costs = [
            8 * sum(_overlap(place, label) for label in placed)
            + sum(_overlap(place, other) for other in others)
            + 2 * _overlap(place, box)
            for place in places
        ]
        placed.append(places[costs.index(min(costs))])
    return placed


def _places(box: Box, width: int, height: int, field: tuple[int, int]) -> list[Box]:
    """Candidates, best first: above, below, right, left, each in two alignments, then inside; moved into the field."""
    corners = (
        (box.x0, box.y0 - height),
        (box.x0, box.y1),
        (box.x1 - width, box.y0 - height),
        (box.x1 - width, box.y1),
        (box.x1, box.y0),
        (box.x1, box.y1 - height),
        (box.x0 - width, box.y0),
        (box.x0 - width, box.y1 - height),
        (box.x0, box.y0),
    )
    inside = []
    for x, y in corners:
        x0 = max(0.0, min(x, field[0] - width))
        y0 = max(0.0, min(y, field[1] - height))
        inside.append(Box(x0, y0, x0 + width, y0 + height))
    return inside


def _overlap(a: Box, b: Box) -> float:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(0.0, width) * max(0.0, height)


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
    rows: Sequence[tuple[str, Colour, int]],
    field: tuple[int, int],
    size: tuple[int, int],
    style: _Style,
    title: str,
) -> None:
    """The legend and the notice below the field."""
    row = style.text_height + 2 * style.pad
    x, y = 2 * style.pad, field[1] + 2 * style.pad
    for text, colour, count in rows or [("No white cells", _PAPER, 0)]:
        words = f"{text} {count}" if rows else text
        width = style.text_height + style.pad + round(draw.textlength(words, style.font)) + 4 * style.pad
        if x + width > size[0] and x > 2 * style.pad:
            x, y = 2 * style.pad, y + row
        if rows:
            swatch = (x, y + style.pad, x + style.text_height, y + style.pad + style.text_height)
            dashed = text == "Unidentified"
            draw.rectangle(swatch, fill=_PAPER if dashed else colour, outline=colour, width=style.line)
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
