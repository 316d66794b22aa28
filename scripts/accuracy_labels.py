"""Where the names of a chart's points go, so that they can be read. Pure; all lengths in points of 1/72 inch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

ROUNDS = 6
"""How often each label may move again when it has seen the others."""

_DISTANCES = (7.0, 13.0, 20.0, 28.0, 38.0, 50.0, 64.0, 80.0, 98.0)
_DIRECTIONS = 24
_POINT = 4.0

Spot = tuple[float, float]


@dataclass(frozen=True)
class Rectangle:
    """Left, lower, right and upper edge."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def centre(self) -> Spot:
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    def common(self, other: "Rectangle") -> float:
        """The area that two have in common."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(0.0, width) * max(0.0, height)

    def holds(self, other: "Rectangle") -> bool:
        return self.x0 <= other.x0 and self.y0 <= other.y0 and self.x1 >= other.x1 and self.y1 >= other.y1

    def nearest(self, spot: Spot) -> Spot:
        """The place in it that is nearest to a spot."""
        return min(max(spot[0], self.x0), self.x1), min(max(spot[1], self.y0), self.y1)

    def crossed_by(self, start: Spot, end: Spot) -> bool:
        """Whether a straight line comes into it, tried at 16 places along the line."""
        return any(
            self.x0 < start[0] + share * (end[0] - start[0]) < self.x1
            and self.y0 < start[1] + share * (end[1] - start[1]) < self.y1
            for share in (step / 16 for step in range(1, 17))
        )


def place_labels(
    points: Sequence[Spot], sizes: Sequence[tuple[float, float]], area: Rectangle
) -> list[Rectangle]:
    """A place for each point's label: inside the area, near its point, off other labels, points and leaders.

    Args:
        sizes: width and height of each label; each must fit into the area.
    """
    marks = [Rectangle(x - _POINT, y - _POINT, x + _POINT, y + _POINT) for x, y in points]
    choices = [_choices(point, size, area) for point, size in zip(points, sizes, strict=True)]
    placed = [options[0] for options in choices]
    for _ in range(ROUNDS):
        before = list(placed)
        for index, options in enumerate(choices):
            others = [label for other, label in enumerate(placed) if other != index]
            leaders = [
                (points[other], label.nearest(points[other]))
                for other, label in enumerate(placed)
                if other != index
            ]
            placed[index] = min(
                options,
                key=lambda place: _cost(place, points[index], marks, others, leaders),
            )
        if placed == before:
            break
    return placed


def _choices(point: Spot, size: tuple[float, float], area: Rectangle) -> list[Rectangle]:
    """Places around a point, the nearest first, moved into the area."""
    width, height = size
    found = []
    for distance in _DISTANCES:
        for step in range(_DIRECTIONS):
            angle = 2 * math.pi * step / _DIRECTIONS
            x = point[0] + math.cos(angle) * (distance + width / 2) - width / 2
            y = point[1] + math.sin(angle) * (distance + height / 2) - height / 2
            x = min(max(x, area.x0), area.x1 - width)
            y = min(max(y, area.y0), area.y1 - height)
            found.append(Rectangle(x, y, x + width, y + height))
    return found


def _cost(
    place: Rectangle,
    point: Spot,
    marks: Sequence[Rectangle],
    others: Sequence[Rectangle],
    leaders: Sequence[tuple[Spot, Spot]],
) -> float:
    end = place.nearest(point)
    return (
        10 * sum(place.common(label) for label in others)
        + 4 * sum(place.common(mark) for mark in marks)
        + 120 * sum(place.crossed_by(*leader) for leader in leaders)
        + 120 * sum(label.crossed_by(point, end) for label in others)
        + math.dist(point, end)
    )
