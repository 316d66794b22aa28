"""The ensemble: who its members are, and which of them may have to answer without the others."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Final

#: The members, in the order of the vote's inputs. Chosen by their accuracy on PBC for their time: with `vit` as a third
#: the mean vote was less accurate on val (98.4% against 98.7%, before the joint epochs), for more time.
MEMBERS: Final = ("efficientnet", "xception")

#: The models' names in the repository.
ENSEMBLE: Final = "ensemble"
VOTE: Final = "vote"


def proper_subsets(members: Sequence[str]) -> list[tuple[str, ...]]:
    """Every choice of some but not all members, smallest first; each in the order of `members`."""
    return [subset for size in range(1, len(members)) for subset in combinations(members, size)]


def subset_name(members: Sequence[str]) -> str:
    """The name of a subset in parameters and figures, e.g. ``xception+vit``."""
    return "+".join(members)
