"""How the members of an ensemble vote, and how far they are apart: the same in training as in serving. Pure."""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.floating[Any]]


def vote(opinions: Sequence[Probabilities], temperature: float) -> NDArray[np.float64]:
    """The members' calibrated opinions, [N, leaves] each, as one, float64 [N, leaves]: as Triton's `vote` model does.

    The mean p of their probabilities, then p**(1/temperature), each row scaled to sum to 1.
    """
    mean = np.mean(np.stack(opinions).astype(np.float64), axis=0)
    # Scaled by its greatest first: a low temperature must not let all of a row vanish.
    sharpened = (mean / mean.max(axis=1, keepdims=True)) ** (1 / temperature)
    return np.asarray(sharpened / sharpened.sum(axis=1, keepdims=True))


def disagreement(opinions: Sequence[Probabilities], tree: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far two or more members are apart on each crop, float32 [N]: 0 (they agree) to 1.

    The greatest total variation distance between two of them, max over pairs (p, q) of sum(|p - q|) / 2, over the
    primary types: members that only waver between a band and a segmented neutrophil agree on what is counted.

    Args:
        opinions: each member's probabilities [N, leaves]; at least two.
        tree: 0/1 [leaves, primary types], see `hemaserve.cells.roll_up_matrix`.
    """
    primaries = [opinion.astype(np.float64) @ tree for opinion in opinions]
    distances = [np.abs(one - other).sum(axis=1) / 2 for one, other in combinations(primaries, 2)]
    return np.asarray(np.minimum(np.max(distances, axis=0), 1), np.float32)
