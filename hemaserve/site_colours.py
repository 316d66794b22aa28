"""What colours a laboratory's photographs have, and the correction that brings them to the training laboratory's.

Three colours can be found in every stained smear without a label: the empty background, red cells, and the nuclei of
white cells. As optical densities they are the anchors of a map from one laboratory to another: what red cells and
nuclei absorb, relative to the background, are two of the colour vectors of Ruifrok & Johnston (2001, Anal. Quant.
Cytol. Histol. 23:291), and their cross product is the third, for what neither explains.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hemaserve.errors import FailedPrecondition
from hemaserve.geometry import Box, as_array, iou_matrix
from hemaserve.imaging import RgbImage
from hemaserve.site_profile import DENSITY, ColourCorrection, UnusableProfile, Vector

MIN_WHITE_CELLS: Final = 20
MIN_RED_CELLS: Final = 20
"""Fewer than these say too little of a laboratory."""

MIXED_SPREAD: Final = 0.08
"""From this `background_spread` on, fields hardly come from one camera: 0.02 and 0.04 within PBC and BCCD, 0.12 within
Raabin's fields (of TXL-PBC), which are from two microscopes and two cameras."""

REFERENCE_FORMAT: Final = "hemaserve.reference_colours.v1"

_RED_CELL_SHARE: Final = 0.85
_WHITE_CELL_SHARE: Final = 0.9
"""Axes of the ellipse that is looked at in a cell's box, as a share of the box's sides: without the cell's rim."""

_NUCLEUS_FROM: Final = 0.8
"""From this quantile of density on, what lies in a white cell's box is certainly nucleus."""

_BACKGROUND_TO: Final = 0.3
"""Up to this quantile of density, what lies outside of all boxes is no cell that the detector has left out."""

_GAP_PX: Final = 2
_LEAST_PIXELS: Final = 30
_MOST_PIXELS: Final = 100_000

Densities = NDArray[np.float64]
"""Optical densities [..., 3], channels in the order R, G, B."""


@dataclass(frozen=True, slots=True)
class Anchors:
    """Three colours, each as the optical density of R, G and B."""

    background: Vector
    red_cell: Vector
    nucleus: Vector


@dataclass(frozen=True, slots=True)
class FieldColours:
    """What one field shows.

    Attributes:
        background: optical density [1, 3]; [0, 3] where nothing lies outside of the cells.
        red_cells: optical density of each red cell, [R, 3].
        nuclei: optical density of each white cell's nucleus, [W, 3].
    """

    background: Densities
    red_cells: Densities
    nuclei: Densities


def field_colours(image: RgbImage, white_cells: Sequence[Box], red_cells: Sequence[Box]) -> FieldColours:
    """The colours of one field, uint8 [height, width, 3] RGB. Cells too small to say anything are passed over."""
    outside = np.ones(image.shape[:2], bool)
    for box in (*white_cells, *red_cells):
        outside[_slices(box, image, gap=_GAP_PX)] = False
    apart = _apart(red_cells, white_cells)
    return FieldColours(
        background=_stack(_typical(_thinned(image[outside]), high=_BACKGROUND_TO)),
        red_cells=_stack(*(_typical(_inside(box, image, _RED_CELL_SHARE)) for box in apart)),
        nuclei=_stack(
            *(_typical(_inside(box, image, _WHITE_CELL_SHARE), low=_NUCLEUS_FROM) for box in white_cells)
        ),
    )


def anchors_of(fields: Sequence[FieldColours]) -> Anchors:
    """The anchors of some fields together: the median over fields, red cells and white cells.

    Raises:
        FailedPrecondition: the fields show too few cells, or no background.
    """
    red_cells = np.concatenate([field.red_cells for field in fields] or [np.empty((0, 3))])
    nuclei = np.concatenate([field.nuclei for field in fields] or [np.empty((0, 3))])
    backgrounds = np.concatenate([field.background for field in fields] or [np.empty((0, 3))])
    if len(nuclei) < MIN_WHITE_CELLS or len(red_cells) < MIN_RED_CELLS or not len(backgrounds):
        raise FailedPrecondition(
            f"too few cells: {len(nuclei)} white and {len(red_cells)} red ones in {len(fields)} fields; needed are "
            f"{MIN_WHITE_CELLS} white and {MIN_RED_CELLS} red ones, and some background between them",
            reason="TOO_FEW_CELLS",
        )
    return Anchors(_median(backgrounds), _median(red_cells), _median(nuclei))


def background_spread(fields: Sequence[FieldColours]) -> float:
    """How much the fields' backgrounds differ: 90th less 10th percentile of optical density, of the worst channel."""
    backgrounds = np.concatenate([field.background for field in fields])
    low, high = np.percentile(backgrounds, [10, 90], axis=0)
    return float((high - low).max())


def estimate_correction(site: Anchors, reference: Anchors) -> ColourCorrection:
    """The correction that takes the anchors of a site exactly to those of the reference.

    Raises:
        FailedPrecondition: no sane correction does: the site's colours can hardly be told apart, or are another world.
    """
    try:
        matrix = _basis(reference) @ np.linalg.inv(_basis(site))
        offset = np.array(reference.background) - matrix @ np.array(site.background)
        first, second, third = map(_vector, matrix)
        return ColourCorrection((first, second, third), _vector(offset))
    except (np.linalg.LinAlgError, UnusableProfile):
        raise FailedPrecondition(
            "the colours of these fields cannot be brought to the reference: are they photographs of stained smears, "
            "in colour?",
            reason="COLOURS_TOO_FAR",
        ) from None


def corrected(correction: ColourCorrection, anchors: Anchors) -> Anchors:
    """What becomes of a site's anchors."""
    return Anchors(
        *(
            _vector(np.array(correction.matrix) @ np.array(anchor) + np.array(correction.offset))
            for anchor in (anchors.background, anchors.red_cell, anchors.nucleus)
        )
    )


@cache
def reference_anchors() -> Anchors:
    """The anchors of the laboratory that most training cells come from; `python -m training reference` finds them."""
    text = resources.files("hemaserve").joinpath("reference_colours.json").read_text(encoding="utf-8")
    found = json.loads(text)
    return Anchors(*(_vector(found[name]) for name in ("background", "red_cell", "nucleus")))


def _basis(anchors: Anchors) -> Densities:
    """[3, 3]: what red cells and nuclei absorb, and across them a third vector of a length between theirs."""
    background = np.array(anchors.background)
    red_cell, nucleus = np.array(anchors.red_cell) - background, np.array(anchors.nucleus) - background
    across = np.cross(red_cell, nucleus)
    length = np.sqrt(np.linalg.norm(red_cell) * np.linalg.norm(nucleus))
    if not np.linalg.norm(across) > 0:
        raise np.linalg.LinAlgError("red cells and nuclei have one colour")
    return np.stack([red_cell, nucleus, across / np.linalg.norm(across) * length], axis=1)


def _apart(red_cells: Sequence[Box], white_cells: Sequence[Box]) -> Iterator[Box]:
    """The red cells that no white cell's box touches."""
    overlaps = iou_matrix(as_array(red_cells), as_array(white_cells)).any(axis=1)
    return (box for box, overlapped in zip(red_cells, overlaps, strict=True) if not overlapped)


def _slices(box: Box, image: RgbImage, *, gap: int = 0) -> tuple[slice, slice]:
    height, width = image.shape[:2]
    return (
        slice(min(height, max(0, int(box.y0) - gap)), max(0, int(box.y1) + 1 + gap)),
        slice(min(width, max(0, int(box.x0) - gap)), max(0, int(box.x1) + 1 + gap)),
    )


def _inside(box: Box, image: RgbImage, share: float) -> RgbImage:
    """The pixels [n, 3] in the ellipse that fills `share` of the box."""
    rows, columns = _slices(box, image)
    patch = image[rows, columns]
    x, y = box.center
    across = (np.arange(patch.shape[1]) + columns.start + 0.5 - x) / (box.width / 2 * share)
    down = (np.arange(patch.shape[0]) + rows.start + 0.5 - y) / (box.height / 2 * share)
    return np.asarray(patch[across**2 + down[:, None] ** 2 <= 1])


def _thinned(pixels: RgbImage) -> RgbImage:
    """Evenly chosen pixels [n, 3], not too many: a median needs no more."""
    return pixels[:: max(1, len(pixels) // _MOST_PIXELS)]


def _typical(pixels: RgbImage, *, low: float = 0.0, high: float = 1.0) -> Densities | None:
    """The median density [3] of those pixels [n, 3] that lie between two quantiles of it; None for too few pixels."""
    if len(pixels) < _LEAST_PIXELS:
        return None
    densities = DENSITY[pixels]
    total = densities.sum(axis=1)
    least, most = np.quantile(total, [low, high])
    return np.asarray(np.median(densities[(least <= total) & (total <= most)], axis=0))


def _stack(*found: Densities | None) -> Densities:
    return np.array([item for item in found if item is not None], np.float64).reshape(-1, 3)


def _median(densities: Densities) -> Vector:
    return _vector(np.median(densities, axis=0))


def _vector(numbers: Sequence[float] | Densities) -> Vector:
    x, y, z = map(float, numbers)
    return x, y, z
