"""The brush that paints one cell, from the cytoplasm to the granules."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hemaserve.synthetic.shapes import Patch, Plane, Point, mask
from hemaserve.synthetic.stains import Colour, Stain


@dataclass(frozen=True, slots=True)
class Drawn:
    """A cell on its patch.

    Attributes:
        colour: float32 [n, n, 3], 0 to 255.
        cover: float32 [n, n], 0 to 1, how much of each pixel the cell hides.
        outline: depths float32 [n, n] of the whole cell.
    """

    colour: NDArray[np.float32]
    cover: Plane
    outline: Plane

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """The tight box left, top, right, bottom, half open, in pixels from the centre."""
        rows, columns = np.nonzero(self.outline > 0)
        half = self.outline.shape[0] // 2
        low_x, low_y = int(columns.min()) - half, int(rows.min()) - half
        return low_x, low_y, int(columns.max()) + 1 - half, int(rows.max()) + 1 - half

    @property
    def radius(self) -> float:
        """From the centre to the farthest side of the tight box, in pixels."""
        return float(max(abs(bound) for bound in self.bounds))


class Brush:
    """Paints one cell, from the cytoplasm to the granules."""

    def __init__(self, patch: Patch, rng: Generator, stain: Stain, outline: Plane, cytoplasm: Colour) -> None:
        self.patch, self.rng, self.stain, self.outline = patch, rng, stain, outline
        self.unit = patch.unit
        self.colour = np.broadcast_to(np.array(cytoplasm, np.float32), (*outline.shape, 3)).copy()
        self.colour += 5 * patch.mottle(rng, 0.12 * self.unit)[..., None]

    def paint(self, where: Plane, colour: Colour) -> None:
        """Lay `colour` over what is there, as thickly as the mask `where` says."""
        self.colour += where[..., None] * (np.array(colour, np.float32) - self.colour)

    def nucleus(self, depth: Plane, *, openness: float) -> None:
        """Chromatin inside `depth`; `openness` is how much of it is loose, from 0 to 1."""
        inside = mask(np.minimum(depth, self.outline - 1))
        self.paint(inside, self.stain.chromatin)
        fine, coarse = (self.patch.mottle(self.rng, step * self.unit) for step in (0.08, 0.2))
        away_from_rim = np.clip(depth / (0.08 * self.unit) - 0.5, 0, 1)
        loose = np.clip(openness + 0.3 * fine + 0.12 * coarse, 0, 1) * away_from_rim
        self.paint(inside * loose, self.stain.chromatin_open)

    def granules(
        self,
        colour: Colour,
        *,
        size: float,
        density: float,
        sharpness: float = 1.2,
        where: Plane | None = None,
    ) -> None:
        """Grains of about `size` units over about `density`, 0.02 to 0.98, of the cell or of the mask `where`.

        Grains with a `sharpness` below 1 run into each other.
        """
        grain = self.patch.mottle(self.rng, size * self.unit)
        # Where normal noise exceeds this, it covers `density` of the plane.
        level = _normal_quantile(1 - density)
        spots = np.clip((grain - level) * sharpness + 0.2, 0, 1) * mask(self.outline - 1)
        self.paint(spots if where is None else spots * where, colour)

    def vacuoles(self, count: int, keep_out: Plane) -> None:
        """Up to `count` clear bubbles, none of them in the shape `keep_out`."""
        for _ in range(count):
            hole = self.patch.blob(
                self.rng, self.rng.uniform(0.06, 0.14) * self.unit, self._somewhere(), roughness=0.1
            )
            where = mask(np.minimum(np.minimum(hole, self.outline - 3), -keep_out - 2))
            self.paint(0.8 * where, self.stain.background)

    def rim(self, colour: Colour, strength: float) -> None:
        """A darker line along the outline."""
        near = np.exp(-np.square((self.outline - 1.5) / (0.05 * self.unit + 1)))
        self.paint(np.asarray(strength * near, np.float32), colour)

    def done(self) -> Drawn:
        """The finished cell."""
        return Drawn(self.colour, mask(self.outline), self.outline)

    def _somewhere(self) -> Point:
        radius, angle = 2.4 * self.unit * math.sqrt(self.rng.uniform()), self.rng.uniform(0, math.tau)
        return radius * math.cos(angle), radius * math.sin(angle)


def _normal_quantile(p: float) -> float:
    """Tukey's lambda approximation of the normal quantile; good to 0.01 between 2 and 98%."""
    return float((p**0.135 - (1 - p) ** 0.135) / 0.1975)
