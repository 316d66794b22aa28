"""What cells are drawn from: outlines, strokes and textures on a square patch.

A shape is a float32 [n, n] array of depths: how many pixels a point lies inside the outline, negative
outside. Depths make outlines easy to join (maximum), cut (minimum), shade near the rim, and soften.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image

Plane = NDArray[np.float32]
"""float32 [n, n]: depths, or a mask from 0 to 1."""

Point = tuple[float, float]
"""Pixels right of and below the patch's centre."""


class Patch:
    """A square of pixels around a cell's centre, in which shapes are made.

    Args:
        unit: a red cell's radius in pixels.
        reach: units from the centre to each edge, at least.
    """

    def __init__(self, unit: float, reach: float) -> None:
        self.unit = unit
        half = math.ceil(unit * reach)
        axis = np.arange(-half, half + 1, dtype=np.float32)
        self.x, self.y = np.meshgrid(axis, axis)

    def blob(
        self,
        rng: Generator,
        radius: float,
        center: Point = (0.0, 0.0),
        *,
        elongation: float = 1.0,
        angle: float | None = None,
        roughness: float = 0.03,
        waves: int = 5,
    ) -> Plane:
        """A rounded outline: an ellipse whose rim wanders by about `roughness` of the radius.

        Args:
            elongation: long axis over short axis, the area kept.
            angle: direction of the long axis in radians; default random.
            waves: how many times around the rim may go in and out at most.
        """
        turn = rng.uniform(0, math.pi) if angle is None else angle
        dx, dy = self.x - center[0], self.y - center[1]
        stretch = math.sqrt(elongation)
        along = (dx * math.cos(turn) + dy * math.sin(turn)) / stretch
        across = (dy * math.cos(turn) - dx * math.sin(turn)) * stretch
        theta = np.arctan2(across, along)
        rim = np.full_like(theta, radius)
        for wave in range(2, waves + 1):
            swing = radius * roughness * rng.normal() / math.sqrt(wave - 1)
            rim += swing * np.cos(wave * theta + rng.uniform(0, math.tau))
        return np.asarray(rim - np.hypot(along, across), np.float32)

    def stroke(self, points: Sequence[Point], radius: float) -> Plane:
        """A thick line through `points`, its ends round."""
        depth = np.full_like(self.x, -np.inf)
        for (x0, y0), (x1, y1) in itertools.pairwise(points):
            length_squared = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-6)
            t = ((self.x - x0) * (x1 - x0) + (self.y - y0) * (y1 - y0)) / length_squared
            t = np.clip(t, 0, 1)
            distance = np.hypot(self.x - x0 - t * (x1 - x0), self.y - y0 - t * (y1 - y0))
            depth = np.maximum(depth, radius - distance)
        return np.asarray(depth, np.float32)

    def mottle(self, rng: Generator, step: float) -> Plane:
        """Smooth noise of mean 0 and deviation about 1 whose features are about `step` pixels wide."""
        side = self.x.shape[0]
        return noise(rng, side, side, step)


def noise(rng: Generator, width: int, height: int, step: float) -> Plane:
    """Smooth noise float32 [height, width], mean 0, deviation about 1, features about `step` pixels wide."""
    coarse = rng.normal(size=(max(2, round(height / step)), max(2, round(width / step)))).astype(np.float32)
    fine = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(fine, np.float32)


def arc(radius: float, start: float, sweep: float, count: int) -> list[Point]:
    """`count` points on a circle about the patch's centre, from angle `start` over `sweep` radians."""
    angles = np.linspace(start, start + sweep, count)
    return [(radius * math.cos(angle), radius * math.sin(angle)) for angle in angles]


def mask(depth: Plane, softness: float = 1.5) -> Plane:
    """How much of each pixel a shape covers, 0 to 1, its rim `softness` pixels wide."""
    return np.clip(depth / softness + 0.5, 0, 1)
