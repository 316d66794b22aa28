"""The vote of the ensemble: the same formula in the ONNX file, here, and in the classifier for a subset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

#: The members, in the order of the vote's inputs.
MEMBERS: Final = ("xception", "vit")

#: The models' names in the repository.
ENSEMBLE: Final = "ensemble"
VOTE: Final = "vote"


def vote(members: Sequence[NDArray[np.float64]], temperature: float = 1.0) -> NDArray[np.float64]:
    """Members' probabilities [N, leaves] to the ensemble's: mean ** (1 / temperature), normalised."""
    sharpened = np.mean(members, axis=0) ** (1 / temperature)
    return np.asarray(sharpened / sharpened.sum(axis=1, keepdims=True))
