"""Matching what was found with what is there. Pure."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np

from hemaserve.cells import CellType
from hemaserve.geometry import Box, FloatArray, iou_matrix

MATCH_IOU: Final = 0.5
"""Least overlap for a found box to count as the labelled one; PASCAL VOC's criterion (Everingham et al., IJCV 2010)."""


def greedy_matches(
    found: FloatArray, labelled: FloatArray, *, least_iou: float = MATCH_IOU
) -> list[tuple[int, int]]:
    """Pairs (index into found, index into labelled), each index at most once.

    Found boxes choose in their order, so pass the best score first; each takes the free labelled box that it overlaps
    most, if by at least `least_iou`.

    Args:
        found: float32 [N, 4].
        labelled: float32 [M, 4].
    """
    overlaps = iou_matrix(found, labelled)
    pairs: list[tuple[int, int]] = []
    for index, row in enumerate(overlaps):
        if row.size == 0:
            break
        best = int(np.argmax(row))
        if row[best] >= least_iou:
            pairs.append((index, best))
            overlaps[:, best] = -1.0
    return pairs


def central_box(boxes: Sequence[Box], width: float, height: float) -> int | None:
    """Index of the box that holds the image's centre and whose own centre is nearest to it; None when none does."""
    x, y = width / 2, height / 2

    def distance(index: int) -> float:
        center_x, center_y = boxes[index].center
        return (center_x - x) ** 2 + (center_y - y) ** 2

    return min((i for i, box in enumerate(boxes) if box.contains(x, y)), key=distance, default=None)


def centred_box(width: float, height: float, share: float) -> Box:
    """The square in the middle of an image whose side is `share` of the image's shorter side."""
    half = min(width, height) * share / 2
    return Box(width / 2 - half, height / 2 - half, width / 2 + half, height / 2 + half)


def right_types(answers: Sequence[CellType], truths: Sequence[CellType]) -> int:
    """How many answers are right when the labels name a field's types but not which cell is which.

    With one type named, every cell is held to be of it. With several, each named type can be used up once: the count is
    that of the best possible assignment, the size of the multisets' intersection.
    """
    if len(set(truths)) == 1:
        return sum(answer is truths[0] for answer in answers)
    return (Counter(answers) & Counter(truths)).total()
