"""The ensembles: who their members are, and which of them may have to answer without the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Networks that vote.

    Attributes:
        name: the ensemble's name in the model repository.
        vote: that of its last step.
        members: their names, in the order of the vote's inputs. All take crops of one side.
    """

    name: str
    vote: str
    members: tuple[str, ...]

    @property
    def title(self) -> str:
        """The name that people read."""
        return f"Ensemble of {', '.join(self.members[:-1])} and {self.members[-1]}"


ENSEMBLES: Final = {
    ensemble.name: ensemble
    for ensemble in (
        # The default. Chosen by their accuracy on PBC for their time: with `vit` as a third the mean vote was less
        # accurate on val (98.4% against 98.7%, before the joint epochs), for more time.
        Ensemble("ensemble", "vote", ("efficientnet", "xception")),
        # That of Hussien & Kareem 2025.
        Ensemble("comparative_ensemble", "comparative_vote", ("vgg19", "xception", "unet")),
    )
}


def proper_subsets(members: Sequence[str]) -> list[tuple[str, ...]]:
    """Every choice of some but not all members, smallest first; each in the order of `members`."""
    return [subset for size in range(1, len(members)) for subset in combinations(members, size)]


def subset_name(members: Sequence[str]) -> str:
    """The name of a subset in parameters and figures, e.g. ``xception+vit``."""
    return "+".join(members)
