"""Where the labels of boxes go in a picture. Pure."""

from collections.abc import Sequence

from hemaserve.geometry import Box


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
