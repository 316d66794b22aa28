"""Where there is room for one more cell."""

import math
from collections import defaultdict
from typing import Final

from numpy.random import Generator

_TRIES: Final = 200


class Room:
    """A field's area, and the circles that are taken.

    Circles are kept in square buckets no smaller than the largest of them, so that looking for room does not slow
    down as the field fills up.

    Args:
        width: pixels.
        height: pixels.
        largest_radius: of any circle that will be taken, in pixels.
    """

    def __init__(self, rng: Generator, width: int, height: int, largest_radius: float) -> None:
        self._rng, self._width, self._height = rng, width, height
        self._bucket = 2 * largest_radius
        self._taken: defaultdict[tuple[int, int], list[tuple[float, float, float, bool]]] = defaultdict(list)

    def find(self, radius: float, *, inset: float, closeness: float) -> tuple[int, int] | None:
        """A random free centre in whole pixels, or None when none is found in a fair number of tries.

        Args:
            radius: of the circle that is to lie there.
            inset: least distance of the centre from the field's edges.
            closeness: least distance from the centres of others, as a share of the sum of radii. Circles that were
                taken for their holder alone are not overlapped at all.
        """
        if 2 * inset >= min(self._width, self._height):
            return None
        for x, y in self._rng.uniform(inset, (self._width - inset, self._height - inset), (_TRIES, 2)):
            if self._is_free(int(x), int(y), radius, closeness):
                return int(x), int(y)
        return None

    def take(self, x: int, y: int, radius: float, *, alone: bool) -> None:
        """Mark a circle as taken, `alone` when nothing may overlap it."""
        self._taken[self._key(x, y)].append((x, y, radius, alone))

    def _is_free(self, x: int, y: int, radius: float, closeness: float) -> bool:
        column, row = self._key(x, y)
        return all(
            math.hypot(x - other_x, y - other_y)
            >= (max(closeness, 1.0) if alone else closeness) * (radius + other)
            for near_column in range(column - 1, column + 2)
            for near_row in range(row - 1, row + 2)
            for other_x, other_y, other, alone in self._taken.get((near_column, near_row), ())
        )

    def _key(self, x: float, y: float) -> tuple[int, int]:
        return int(x // self._bucket), int(y // self._bucket)
