"""Which pictures were made from the same photograph, by what is in them.

Augmented sets come as files, and a file's name does not say what it was made from: the number that Keras'
`ImageDataGenerator` writes into it is a place in a shuffled order. So pictures are compared: SIFT features (Lowe 2004)
that agree on one affine map, as they are or mirrored, are of one photograph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

#: Features of a picture, the strongest.
_FEATURES: Final = 200

#: Least similarity (RootSIFT's cosine, Arandjelovic & Zisserman 2012) of two features that may be the same thing.
_ALIKE: Final = 0.8

#: A feature counts where the next best is farther away by this much (Lowe 2004).
_RATIO: Final = 0.8

#: Features that have to agree on one map, and the share of those that count: red cells look alike.
_LEAST_AGREEING: Final = 14
_LEAST_SHARE: Final = 0.5

#: How far from its place under the map a feature may be, in pixels, and how much the map may scale areas.
_TOLERANCE_PX: Final = 2.5
_SCALES: Final = (0.6, 1.7)

#: Known views that a picture is compared with: those that have most features like its own.
_CANDIDATES: Final = 4

#: A picture that fewer features tie to its photograph is a view that others may be known by.
_WELL_KNOWN: Final = 24

_Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _View:
    """Features of a picture: where they are, float [N, 2], and what they look like, float [N, 128] of length 1."""

    places: _Floats
    looks: _Floats


def same_photograph(paths: Iterable[Path]) -> list[int]:
    """A number for each picture: the same for two that were made from one photograph, as far as can be seen.

    Photographs that overlap can get one number. A picture that looks like no other gets one of its own.
    """
    known = _Known()
    placed = [known.place(*_views(path)) for path in paths]
    return [known.root(view) for view in placed]


class _Known:
    """Views of the photographs that were met so far."""

    def __init__(self) -> None:
        self._views: list[_View] = []
        self._parents: list[int] = []
        self._looks: _Floats = np.empty((0, 128), np.float32)
        self._owners = np.empty(0, np.int64)

    def root(self, view: int) -> int:
        """The number of a view's photograph: that of its first view."""
        while self._parents[view] != view:
            self._parents[view] = self._parents[self._parents[view]]
            view = self._parents[view]
        return view

    def place(self, picture: _View, mirrored: _View) -> int:
        """A view of the photograph that a picture was made from; the picture's own where there was none."""
        agreeing = Counter[int]()
        for seen in (picture, mirrored):
            for view in self._candidates(seen):
                agreeing[view] = max(agreeing[view], _agreeing(seen, self._views[view]))
        found = [view for view, count in agreeing.items() if count >= _LEAST_AGREEING]
        if not found:
            return self._add(picture, None)
        photograph = min(map(self.root, found))
        for view in found:
            self._parents[self.root(view)] = photograph
        if max(agreeing.values()) < _WELL_KNOWN:
            self._add(picture, photograph)
        return photograph

    def _add(self, picture: _View, photograph: int | None) -> int:
        number = len(self._views)
        self._views.append(picture)
        self._parents.append(number if photograph is None else photograph)
        self._looks = np.concatenate([self._looks, picture.looks])
        self._owners = np.concatenate([self._owners, np.full(len(picture.looks), number)])
        return number

    def _candidates(self, seen: _View) -> Iterator[int]:
        if not len(self._looks) or not len(seen.looks):
            return
        alike = seen.looks @ self._looks.T
        nearest = alike.argmax(axis=1)[alike.max(axis=1) > _ALIKE]
        for view, _ in Counter(self._owners[nearest].tolist()).most_common(_CANDIDATES):
            yield view


def _agreeing(one: _View, other: _View) -> int:
    """How many features agree on an affine map from one view to another; 0 where there is no such map."""
    if min(len(one.looks), len(other.looks)) < _LEAST_AGREEING:
        return 0
    alike = one.looks @ other.looks.T
    order = np.argsort(-alike, axis=1)[:, :2]
    distances = 2 - 2 * np.take_along_axis(alike, order, axis=1)
    clear = distances[:, 0] < _RATIO**2 * distances[:, 1]
    if clear.sum() < _LEAST_AGREEING:
        return 0
    there = other.places[order[clear, 0]]
    affine, agree = cv2.estimateAffine2D(one.places[clear], there, ransacReprojThreshold=_TOLERANCE_PX)
    if affine is None or agree.mean() < _LEAST_SHARE:
        return 0
    low, high = _SCALES
    return int(agree.sum()) if low < abs(np.linalg.det(affine[:, :2])) < high else 0


def _views(path: Path) -> tuple[_View, _View]:
    """A picture's features, and those of its mirror image."""
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if grey is None:
        raise ValueError(f"{path} is no picture")
    sift = cv2.SIFT_create(nfeatures=_FEATURES)
    return _features(sift, grey), _features(sift, cv2.flip(grey, 1))


def _features(sift: Any, grey: NDArray[np.uint8]) -> _View:
    points, looks = sift.detectAndCompute(grey, None)
    if looks is None:
        return _View(np.empty((0, 2), np.float32), np.empty((0, 128), np.float32))
    places = np.array([point.pt for point in points], np.float32)
    return _View(places, np.sqrt(looks / np.maximum(looks.sum(axis=1, keepdims=True), 1e-6)))
