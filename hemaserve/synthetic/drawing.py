"""How each type of cell is drawn. Sizes are in units of a red cell's radius, as in photographs of adult blood."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.random import Generator

from hemaserve.cells import CellType
from hemaserve.synthetic.brush import Brush, Drawn
from hemaserve.synthetic.shapes import Patch, Plane, Point, arc, mask
from hemaserve.synthetic.stains import Stain


def _lobes(brush: Brush, centres: list[Point], radius: float) -> Plane:
    """Lobes at `centres`, each about `radius` px, joined by strands."""
    depth = brush.patch.stroke(centres, 0.09 * brush.unit)
    for centre in centres:
        lobe = brush.patch.blob(
            brush.rng,
            radius * brush.rng.uniform(0.85, 1.15),
            centre,
            elongation=brush.rng.uniform(1.0, 1.5),
            roughness=0.06,
        )
        depth = np.maximum(depth, lobe)
    return depth


def _segmented(patch: Patch, rng: Generator, stain: Stain) -> Drawn:
    radius = patch.unit * rng.uniform(1.65, 1.95)
    outline = patch.blob(rng, radius, elongation=rng.uniform(1, 1.2))
    brush = Brush(patch, rng, stain, outline, stain.cytoplasm_pink)
    brush.granules(stain.granule_lilac, size=0.07, density=0.3, sharpness=0.7)
    count = int(rng.integers(3, 5))
    centres = arc(0.5 * radius, rng.uniform(0, math.tau), rng.uniform(3.4, 4.4), count)
    brush.nucleus(_lobes(brush, centres, radius * (0.36 if count == 3 else 0.3)), openness=0.2)
    return brush.done()


def _band(patch: Patch, rng: Generator, stain: Stain) -> Drawn:
    radius = patch.unit * rng.uniform(1.7, 2.0)
    outline = patch.blob(rng, radius, elongation=rng.uniform(1, 1.15))
    brush = Brush(patch, rng, stain, outline, stain.cytoplasm_pink)
    brush.granules(stain.granule_lilac, size=0.07, density=0.3, sharpness=0.7)
    bend = arc(0.48 * radius, rng.uniform(0, math.tau), rng.uniform(3.6, 4.4), 12)
    wander = patch.mottle(rng, 0.5 * patch.unit) * 0.05 * patch.unit
    brush.nucleus(patch.stroke(bend, 0.24 * radius) + wander, openness=0.2)
    return brush.done()


def _neutrophil(patch: Patch, rng: Generator, stain: Stain) -> Drawn:
    return (_segmented if rng.uniform() < 0.8 else _band)(patch, rng, stain)


def _lymphocyte(patch: Patch, rng: Generator, stain: Stain) -> Drawn:
    radius = patch.unit * rng.uniform(1.25, 1.5)
    outline = patch.blob(rng, radius, elongation=rng.uniform(1, 1.12), roughness=0.03, waves=9)
    brush = Brush(patch, rng, stain, outline, stain.cytoplasm_blue)
    shift = rng.uniform(0.02, 0.1) * radius
    angle = rng.uniform(0, math.tau)
    centre = (shift * math.cos(angle), shift * math.sin(angle))
    nucleus = patch.blob(rng, radius * rng.uniform(0.84, 0.9), centre, elongation=rng.uniform(1, 1.1))
    brush.nucleus(nucleus, openness=0.25)
    return brush.done()


def _kidney(brush: Brush, radius: float, *, bite: float) -> Plane:
    """A rounded nucleus of about `radius` px with a dent `bite` of its radius deep."""
    angle = brush.rng.uniform(0, math.tau)
    towards = (math.cos(angle), math.sin(angle))
    body = brush.patch.blob(
        brush.rng,
        radius,
        (-0.12 * radius * towards[0], -0.12 * radius * towards[1]),
        elongation=1.25,
        angle=angle + math.pi / 2,
        roughness=0.05,
    )
    dent = brush.patch.blob(
        brush.rng,
        0.5 * radius,
        ((1.4 - bite) * radius * towards[0], (1.4 - bite) * radius * towards[1]),
        roughness=0.1,
    )
    return np.minimum(body, -dent)


def _monocyte(patch: Patch, rng: Generator, stain: Stain) -> Drawn:
    radius = patch.unit * rng.uniform(2.0, 2.3)
    outline = patch.blob(rng, radius, elongation=rng.uniform(1, 1.2), roughness=0.05, waves=7)
    brush = Brush(patch, rng, stain, outline, stain.cytoplasm_grey)
    brush.granules(stain.granule_lilac, size=0.08, density=0.4, sharpness=0.35)
    brush.granules(stain.cytoplasm_blue, size=0.25, density=0.3, sharpness=0.2)
    nucleus = _kidney(brush, 0.7 * radius, bite=0.7)
    brush.vacuoles(int(rng.integers(8, 16)), nucleus)
    brush.nucleus(nucleus, openness=0.5)
    brush.rim(stain.cytoplasm_blue, 0.25)
    return brush.done()


def _eosinophil(patch: Patch, rng: Generator, stain: Stain) -> Drawn:
    radius = patch.unit * rng.uniform(1.75, 2.0)
    outline = patch.blob(rng, radius, elongation=rng.uniform(1, 1.15))
    brush = Brush(patch, rng, stain, outline, stain.cytoplasm_pink)
    brush.granules(stain.granule_orange, size=0.1, density=0.7, sharpness=0.4)
    brush.granules(stain.granule_orange, size=0.3, density=0.6, sharpness=0.4)
    centres = arc(0.5 * radius, rng.uniform(0, math.tau), rng.uniform(1.9, 2.6), 2)
    brush.nucleus(_lobes(brush, centres, 0.4 * radius), openness=0.2)
    return brush.done()


def _basophil(patch: Patch, rng: Generator, stain: Stain) -> Drawn:
    radius = patch.unit * rng.uniform(1.5, 1.7)
    outline = patch.blob(rng, radius, elongation=rng.uniform(1, 1.12), roughness=0.03, waves=9)
    brush = Brush(patch, rng, stain, outline, stain.cytoplasm_pink)
    brush.granules(stain.granule_lilac, size=0.15, density=0.7, sharpness=0.5)
    centres = arc(0.38 * radius, rng.uniform(0, math.tau), rng.uniform(2.2, 3.6), 3)
    brush.nucleus(_lobes(brush, centres, 0.5 * radius), openness=0.35)
    brush.granules(stain.granule_purple, size=0.12, density=0.5, sharpness=1.0)
    return brush.done()


def _granulocyte_precursor(
    patch: Patch, rng: Generator, stain: Stain, *, size: float, bite: float, granules: float
) -> Drawn:
    radius = patch.unit * size * rng.uniform(0.93, 1.07)
    outline = patch.blob(rng, radius, elongation=rng.uniform(1, 1.15))
    mixed = tuple((a + b) // 2 for a, b in zip(stain.cytoplasm_grey, stain.cytoplasm_pink, strict=True))
    brush = Brush(patch, rng, stain, outline, (mixed[0], mixed[1], mixed[2]))
    angle, shift = rng.uniform(0, math.tau), 0.2 * radius
    if bite:
        nucleus = _kidney(brush, 0.62 * radius, bite=bite)
    else:
        centre = (shift * math.cos(angle), shift * math.sin(angle))
        nucleus = patch.blob(rng, 0.68 * radius, centre, elongation=rng.uniform(1, 1.25))
    brush.nucleus(nucleus, openness=0.38)
    brush.granules(stain.granule_lilac, size=0.09, density=0.5, sharpness=0.35, where=mask(-nucleus))
    brush.granules(stain.granule_azure, size=0.09, density=granules)
    return brush.done()


def _promyelocyte(patch: Patch, rng: Generator, stain: Stain) -> Drawn:
    return _granulocyte_precursor(patch, rng, stain, size=2.15, bite=0, granules=0.28)


def _myelocyte(patch: Patch, rng: Generator, stain: Stain) -> Drawn:
    return _granulocyte_precursor(patch, rng, stain, size=1.9, bite=0, granules=0.18)


def _metamyelocyte(patch: Patch, rng: Generator, stain: Stain) -> Drawn:
    return _granulocyte_precursor(patch, rng, stain, size=1.85, bite=0.45, granules=0.16)


def _immature_granulocyte(patch: Patch, rng: Generator, stain: Stain) -> Drawn:
    stages = (_promyelocyte, _myelocyte, _metamyelocyte)
    return stages[int(rng.integers(len(stages)))](patch, rng, stain)


def _erythroblast(patch: Patch, rng: Generator, stain: Stain) -> Drawn:
    radius = patch.unit * rng.uniform(1.0, 1.25)
    cytoplasm = tuple((3 * a + 2 * b) // 5 for a, b in zip(stain.cytoplasm_grey, stain.red_cell, strict=True))
    outline = patch.blob(rng, radius, elongation=rng.uniform(1, 1.2))
    brush = Brush(patch, rng, stain, outline, (cytoplasm[0], cytoplasm[1], cytoplasm[2]))
    angle, shift = rng.uniform(0, math.tau), rng.uniform(0.05, 0.25) * radius
    centre = (shift * math.cos(angle), shift * math.sin(angle))
    brush.nucleus(patch.blob(rng, 0.62 * radius, centre, roughness=0.015), openness=0.05)
    return brush.done()


def _platelet(patch: Patch, rng: Generator, stain: Stain) -> Drawn:
    radius = patch.unit * rng.uniform(0.42, 0.62)
    outline = patch.blob(rng, radius, elongation=rng.uniform(1, 1.4), roughness=0.07, waves=7)
    brush = Brush(patch, rng, stain, outline, stain.cytoplasm_grey)
    heart = mask(outline - 0.1 * patch.unit, softness=0.15 * patch.unit)
    brush.granules(stain.granule_lilac, size=0.2, density=0.8, sharpness=0.5, where=heart)
    brush.granules(stain.granule_azure, size=0.1, density=0.7, sharpness=0.8, where=heart)
    return brush.done()


_DRAW: Final[Mapping[CellType, Callable[[Patch, Generator, Stain], Drawn]]] = MappingProxyType(
    {
        CellType.NEUTROPHIL: _neutrophil,
        CellType.NEUTROPHIL_BAND: _band,
        CellType.NEUTROPHIL_SEGMENTED: _segmented,
        CellType.LYMPHOCYTE: _lymphocyte,
        CellType.MONOCYTE: _monocyte,
        CellType.EOSINOPHIL: _eosinophil,
        CellType.BASOPHIL: _basophil,
        CellType.IMMATURE_GRANULOCYTE: _immature_granulocyte,
        CellType.PROMYELOCYTE: _promyelocyte,
        CellType.MYELOCYTE: _myelocyte,
        CellType.METAMYELOCYTE: _metamyelocyte,
        CellType.ERYTHROBLAST: _erythroblast,
        CellType.PLATELET: _platelet,
    }
)

DRAWN_TYPES: Final[tuple[CellType, ...]] = tuple(_DRAW)
"""The types that can be drawn."""


_REACH: Final[Mapping[CellType, float]] = MappingProxyType(
    {CellType.LYMPHOCYTE: 2.2, CellType.ERYTHROBLAST: 1.9, CellType.PLATELET: 1.0}
)
_USUAL_REACH: Final = 3.2
"""Half the side of a cell's patch in units: more than the largest cell of its type needs, a monocyte most."""


def draw(cell_type: CellType, rng: Generator, stain: Stain, *, red_cell_px: float) -> Drawn:
    """One cell of `cell_type` in the middle of its patch, scaled to red cells of `red_cell_px` diameter.

    Raises:
        KeyError: the type is not one of `DRAWN_TYPES`.
    """
    patch = Patch(red_cell_px / 2, _REACH.get(cell_type, _USUAL_REACH))
    return _DRAW[cell_type](patch, rng, stain)


def draw_red_cell(rng: Generator, stain: Stain, *, red_cell_px: float) -> Drawn:
    """A red cell; `colour` is what it lets through, 0 to 255, so that cells which overlap look darker there."""
    patch = Patch(red_cell_px / 2, 1.8)
    radius = patch.unit * float(np.clip(rng.normal(1.0, 0.06), 0.8, 1.2))
    outline = patch.blob(
        rng, radius, elongation=min(1.5, 1 + abs(rng.normal(0, 0.1))), roughness=0.02, waves=4
    )
    # Thickness over the radius: thin in the middle (the pallor), thickest at 3/4, round at the rim.
    inward = np.clip(outline / radius, 0, 1)
    pallor = rng.uniform(0.2, 0.62) if rng.uniform() < 0.85 else 0.0
    thickness = 1 - pallor / (1 + np.exp(-(inward - rng.uniform(0.5, 0.68)) * 18))
    strength = rng.uniform(0.8, 1.15) * thickness * mask(outline, softness=2.5)
    strength *= 1 + 0.15 * np.exp(-np.square((outline - 2) / 3))
    passed = np.array(stain.red_cell, np.float32) / np.array(stain.background, np.float32)
    colour = 255 * np.power(passed, strength[..., None])
    return Drawn(np.asarray(colour, np.float32), mask(outline), outline)
