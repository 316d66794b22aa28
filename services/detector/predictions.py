"""From a network's raw predictions to candidates in the pixels of what it looked at. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from hemaserve.cells import Kind
from hemaserve.geometry import FloatArray, nms

BOX_ROWS: Final = 4
"""Rows of a prediction that say where: cx, cy, w, h. The others are scores, one row a kind."""

MAX_PER_PIECE: Final = 300
"""Most candidates kept of one piece, best first: what Ultralytics keeps of an image (its `max_det`)."""

MAX_BEFORE_NMS: Final = 3_000
"""Most candidates that compete in one piece, which bounds the work that a very low threshold causes."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Objects that the network may have seen, as arrays of one length.

    Attributes:
        boxes: float32 [N, 4] of x0, y0, x1, y1.
        scores: float32 [N], 0 to 1.
        kinds: int [N], positions in the model's `kinds`.
    """

    boxes: FloatArray
    scores: FloatArray
    kinds: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, selection: NDArray[np.intp] | NDArray[np.bool_]) -> Self:
        """The candidates at these indices, or where this mask is true."""
        return type(self)(self.boxes[selection], self.scores[selection], self.kinds[selection])

    def moved_to(self, boxes: FloatArray) -> Self:
        """The same candidates with other boxes."""
        return type(self)(boxes, self.scores, self.kinds)


def join(parts: Sequence[Candidates]) -> Candidates:
    """All candidates of `parts`, in their order; at least one part."""
    return Candidates(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.kinds for part in parts]),
    )


def read_predictions(
    raw: FloatArray, kinds: Sequence[Kind], thresholds: Mapping[Kind, float], *, nms_iou: float
) -> Candidates:
    """The candidates in what a network said of one image.

    Each anchor stands for one object: of the kinds that reach their threshold, the one with the best score. Anchors
    with a box that is empty or not finite stand for nothing.

    Args:
        raw: float32 [4 + len(kinds), A]: cx, cy, w, h in the network's pixels, then a score 0 to 1 for each kind.
        kinds: the kinds of the score rows, in order.
        thresholds: the least score of each kind; kinds that are not in it are not looked for.
        nms_iou: boxes of one kind that overlap by more than this are one object.

    Returns:
        At most `MAX_PER_PIECE` candidates, best first, in the network's pixels.

    Raises:
        ValueError: `raw` has another number of rows.
    """
    if raw.ndim != 2 or raw.shape[0] != BOX_ROWS + len(kinds):
        raise ValueError(f"predictions of shape {raw.shape}; expected [{BOX_ROWS + len(kinds)}, A]")
    least = np.array([thresholds.get(kind, np.inf) for kind in kinds], np.float32)
    scores = np.where(raw[BOX_ROWS:] >= least[:, None], raw[BOX_ROWS:], -np.inf)
    best = scores.argmax(axis=0)
    score = scores[best, np.arange(raw.shape[1])]
    center, size = raw[0:2], raw[2:4]
    sound = np.isfinite(raw[:BOX_ROWS]).all(axis=0) & (size > 0).all(axis=0)
    anchors = np.flatnonzero(sound & np.isfinite(score))
    anchors = anchors[np.argsort(-score[anchors], kind="stable")[:MAX_BEFORE_NMS]]
    boxes = np.concatenate([center - size / 2, center + size / 2])[:, anchors].T
    found = Candidates(np.ascontiguousarray(boxes, np.float32), score[anchors], best[anchors])
    kept = nms_by_kind(found, found.scores, iou_threshold=nms_iou)
    return found.take(kept[:MAX_PER_PIECE])


def nms_by_kind(
    found: Candidates, rank: FloatArray, *, iou_threshold: float, containment_threshold: float = 1.0
) -> NDArray[np.intp]:
    """`hemaserve.geometry.nms` among the candidates of each kind: kinds do not suppress one another.

    Args:
        found: N candidates.
        rank: float32 [N]; where two candidates are one object, the one with the higher rank stays.

    Returns:
        Indices of those kept, highest rank first.
    """
    kept = []
    for kind in np.unique(found.kinds):
        of_kind = np.flatnonzero(found.kinds == kind)
        winners = nms(
            found.boxes[of_kind],
            rank[of_kind],
            iou_threshold=iou_threshold,
            containment_threshold=containment_threshold,
        )
        kept.append(of_kind[winners])
    if not kept:
        return np.empty(0, np.intp)
    together = np.concatenate(kept)
    return np.asarray(together[np.argsort(-rank[together], kind="stable")], np.intp)
