"""Synthetic fields: where cells lie, and what the microscope makes of them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from hemaserve.cells import CellType, Kind
from hemaserve.geometry import Box
from hemaserve.imaging import RgbImage
from hemaserve.synthetic.brush import Drawn
from hemaserve.synthetic.drawing import DRAWN_TYPES, draw, draw_red_cell
from hemaserve.synthetic.room import Room
from hemaserve.synthetic.shapes import noise
from hemaserve.synthetic.stains import STAINS, Stain

_USUAL_TYPES: Final = {
    CellType.NEUTROPHIL_SEGMENTED: 0.52,
    CellType.NEUTROPHIL_BAND: 0.04,
    CellType.LYMPHOCYTE: 0.28,
    CellType.MONOCYTE: 0.08,
    CellType.EOSINOPHIL: 0.05,
    CellType.BASOPHIL: 0.03,
}
"""Shares of white cells when only their number is asked for; about those of healthy adults."""


@dataclass(frozen=True, slots=True)
class PlacedCell:
    """A cell that was drawn: its tight box, clipped to the field, its kind, and its type (None for red cells)."""

    box: Box
    kind: Kind
    cell_type: CellType | None


@dataclass(frozen=True, slots=True)
class SyntheticField:
    """A drawn field, uint8 [height, width, 3] RGB, and every cell in it."""

    image: RgbImage
    cells: tuple[PlacedCell, ...]
    seed: int


def generate_field(
    seed: int,
    *,
    width: int = 640,
    height: int = 480,
    white_cells: Sequence[CellType] | int = 3,
    red_cells: int | None = None,
    platelets: int = 4,
    stain: str = "may-gruenwald-giemsa",
    red_cell_px: float = 74.0,
    caption: bool = False,
) -> SyntheticField:
    """Draw a field. The same arguments give the same field.

    White cells and platelets lie whole in the field and apart from each other; red cells may overlap each
    other and the field's edge, their centres in the field.

    Args:
        seed: 0 or more.
        width: pixels.
        height: pixels.
        white_cells: the types to draw, of `DRAWN_TYPES`, or how many of the usual ones.
        red_cells: how many at most, as far as there is room; default: as dense as in a good field.
        platelets: how many.
        stain: a name in `STAINS`.
        red_cell_px: diameter of an average red cell in pixels, 8 or more; everything scales with it.
        caption: whether to write SYNTHETIC in the lower left corner.

    Raises:
        ValueError: a name is unknown, or the white cells and platelets do not fit into the field.
    """
    if stain not in STAINS:
        raise ValueError(f"unknown stain {stain!r}; known: {', '.join(STAINS)}")
    rng = np.random.default_rng(seed)
    types = _choose_types(rng, white_cells)
    slide = _Slide(rng, STAINS[stain], width, height, red_cell_px)
    slide.add_whole(types, Kind.WBC)
    slide.add_whole([CellType.PLATELET] * platelets, Kind.PLATELET)
    room = width * height / red_cell_px**2
    slide.add_red_cells(round(0.4 * room) if red_cells is None else red_cells)
    image = _photograph(rng, slide.light)
    if caption:
        _write(image, "SYNTHETIC")
    return SyntheticField(np.asarray(image), tuple(slide.cells), seed)


def _choose_types(rng: Generator, white_cells: Sequence[CellType] | int) -> list[CellType]:
    if isinstance(white_cells, int):
        usual = list(_USUAL_TYPES)
        return [usual[i] for i in rng.choice(len(usual), white_cells, p=list(_USUAL_TYPES.values()))]
    for cell_type in white_cells:
        if cell_type not in DRAWN_TYPES or cell_type is CellType.PLATELET:
            raise ValueError(f"{cell_type!r} cannot be drawn as a white cell")
    return list(white_cells)


class _Slide:
    """Cells are placed and painted one by one, each with its truth.

    Attributes:
        light: what leaves the slide, float32 [height, width, 3], 0 to 255.
        cells: what was painted.
    """

    def __init__(self, rng: Generator, stain: Stain, width: int, height: int, red_cell_px: float) -> None:
        self._rng, self._stain, self._red_cell_px = rng, stain, red_cell_px
        self._width, self._height = width, height
        self._room = Room(rng, width, height, largest_radius=1.6 * red_cell_px)
        self.light = np.empty((height, width, 3), np.float32)
        self.light[:] = stain.background
        self.light += noise(rng, width, height, red_cell_px)[..., None]
        self.cells: list[PlacedCell] = []

    def add_whole(self, types: Sequence[CellType], kind: Kind) -> None:
        """Cells that lie whole in the field and apart from all others; the largest first, which leaves most room."""
        drawn = [(draw(t, self._rng, self._stain, red_cell_px=self._red_cell_px), t) for t in types]
        for cell, cell_type in sorted(drawn, key=lambda pair: -pair[0].radius):
            at = self._room.find(cell.radius, inset=cell.radius + 2, closeness=1.04)
            if at is None:
                raise ValueError(f"{len(types)} {kind} cells do not fit into {self._width}x{self._height} px")
            self._room.take(*at, cell.radius, alone=True)
            cover = cell.cover[..., None]
            self._paint(at, cell, 1 - cover, cover * cell.colour)
            self.cells.append(PlacedCell(self._box(at, cell), kind, cell_type))

    def add_red_cells(self, count: int) -> None:
        """Up to `count` red cells, of which some overlap."""
        for _ in range(count):
            cell = draw_red_cell(self._rng, self._stain, red_cell_px=self._red_cell_px)
            closeness = 0.72 if self._rng.uniform() < 0.25 else 0.98
            at = self._room.find(cell.radius, inset=0, closeness=closeness)
            if at is not None:
                self._room.take(*at, cell.radius, alone=False)
                self._paint(at, cell, cell.colour / 255, np.zeros_like(cell.colour))
                self.cells.append(PlacedCell(self._box(at, cell), Kind.RBC, None))

    def _paint(
        self, at: tuple[int, int], cell: Drawn, factor: NDArray[np.float32], summand: NDArray[np.float32]
    ) -> None:
        """Where the cell's patch lies in the field: light = light * factor + summand."""
        half = cell.outline.shape[0] // 2
        left, top = at[0] - half, at[1] - half
        rows = slice(max(0, top), min(self._height, at[1] + half + 1))
        columns = slice(max(0, left), min(self._width, at[0] + half + 1))
        local_rows = slice(rows.start - top, rows.stop - top)
        local_columns = slice(columns.start - left, columns.stop - left)
        self.light[rows, columns] *= factor[local_rows, local_columns]
        self.light[rows, columns] += summand[local_rows, local_columns]

    def _box(self, at: tuple[int, int], cell: Drawn) -> Box:
        left, top, right, bottom = cell.bounds
        return Box(
            float(max(0, at[0] + left)),
            float(max(0, at[1] + top)),
            float(min(self._width, at[0] + right)),
            float(min(self._height, at[1] + bottom)),
        )


def _photograph(rng: Generator, light: NDArray[np.float32]) -> Image.Image:
    """Uneven lighting, the camera's gains, a little blur and noise. Uses `light` up: fields may be large."""
    height, width = light.shape[:2]
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[:, None]
    tilt_x, tilt_y = rng.normal(0, 0.02, 2).astype(np.float32)
    light *= 1 + tilt_x * x + tilt_y * y - np.float32(rng.uniform(0.0, 0.06)) * (x * x + y * y)
    light *= rng.normal(1.0, 0.01, 3).astype(np.float32)
    sharp = Image.fromarray(np.clip(light, 0, 255, out=light).astype(np.uint8))
    light[:] = sharp.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.4, 0.9))))
    light += np.float32(1.6) * rng.standard_normal((height, width, 1), np.float32)
    return Image.fromarray(np.clip(light, 0, 255, out=light).astype(np.uint8))


def _write(image: Image.Image, text: str) -> None:
    pen = ImageDraw.Draw(image)
    font = ImageFont.load_default()
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    height = bottom - top
    pen.rectangle((0, image.height - height - 8, right - left + 8, image.height), fill=(255, 255, 255))
    pen.text((4 - left, image.height - height - 4 - top), text, fill=(60, 60, 60), font=font)


def encode_png(image: RgbImage) -> bytes:
    """An image uint8 [height, width, 3] RGB as a PNG file."""
    return _encode(image, "PNG", {"compress_level": 1})


def encode_jpeg(image: RgbImage, *, quality: int = 95) -> bytes:
    """An image uint8 [height, width, 3] RGB as a JPEG file, `quality` 1 to 95."""
    return _encode(image, "JPEG", {"quality": quality})


def _encode(image: RgbImage, file_format: str, options: dict[str, int]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, file_format, **options)
    return file.getvalue()
