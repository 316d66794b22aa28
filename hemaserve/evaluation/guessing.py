"""From probabilities to the type that an image was taken for, and whether that is right. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hemaserve.cells import CellType, belongs_to, primary_of
from hemaserve.errors import InvalidArgument

Probabilities = Mapping[CellType, float]
"""Calibrated probabilities, over the leaf types that the network knows unless said otherwise."""


@dataclass(frozen=True, slots=True)
class Guess:
    """What one image was taken for.

    Attributes:
        truth: the type that its folder stands for.
        answer: the best guess, whether or not the classifier commits itself.
        probability: calibrated probability of the primary type that was guessed; of the answer in a closed set.
        probability_right: whether the type that `probability` speaks of is the image's.
        identified: whether the classifier commits itself.
    """

    truth: CellType
    answer: CellType
    probability: float
    probability_right: bool
    identified: bool

    @property
    def right(self) -> bool:
        return self.answer is self.truth


def primary_probabilities(probabilities: Probabilities) -> dict[CellType, float]:
    """The probability of each primary type: the sum over its leaves."""
    sums: dict[CellType, float] = {}
    for leaf, probability in probabilities.items():
        sums[primary_of(leaf)] = sums.get(primary_of(leaf), 0.0) + probability
    return sums


def most_probable(probabilities: Probabilities) -> CellType:
    """The type with the largest probability, the first one where several have it. There must be one."""
    return max(probabilities, key=lambda cell_type: probabilities[cell_type])


def open_guess(
    probabilities: Probabilities, truth: CellType, folder_types: frozenset[CellType], *, identified: bool
) -> Guess:
    """The best guess among all types that the network knows.

    The primary type with the largest probability, the sum over its leaves. Where a folder is named after a leaf, the
    guesses in that leaf's branch are leaves as well; in the folder of their parent each of them is right.

    Args:
        truth: the type of the image's folder.
        folder_types: the types of all folders.
    """
    by_primary = primary_probabilities(probabilities)
    primary = most_probable(by_primary)
    answer = primary
    if any(primary_of(name) is primary and name is not primary for name in folder_types):
        answer = most_probable({leaf: p for leaf, p in probabilities.items() if primary_of(leaf) is primary})
    if belongs_to(answer, truth):
        answer = truth
    return Guess(truth, answer, by_primary[primary], primary is primary_of(truth), identified)


def closed_guess(
    probabilities: Probabilities, truth: CellType, types: Sequence[CellType], *, identified: bool
) -> Guess:
    """The best guess among `types` only: what a published figure over that set of types compares with.

    The probability is renormalised over `types`.

    Args:
        truth: one of `types`.
    """
    shares = {
        candidate: sum(p for leaf, p in probabilities.items() if belongs_to(leaf, candidate))
        for candidate in types
    }
    answer, total = most_probable(shares), sum(shares.values())
    probability = shares[answer] / total if total > 0 else 0.0
    return Guess(truth, answer, probability, answer is truth, identified)


def check_closed_set(types: Sequence[CellType]) -> tuple[CellType, ...]:
    """The types of a closed set, each once.

    Raises:
        InvalidArgument: fewer than two, or one of them lies below another.
    """
    unique = tuple(dict.fromkeys(types))
    if len(unique) < 2:
        raise InvalidArgument("--types", ", ".join(unique) or "none", "two types or more")
    for cell_type in unique:
        if primary_of(cell_type) is not cell_type and primary_of(cell_type) in unique:
            raise InvalidArgument(
                "--types",
                f"{cell_type} lies below {primary_of(cell_type)}",
                "types none of which is part of another",
            )
    return unique


def closed_truth(folder_type: CellType, types: Sequence[CellType]) -> CellType | None:
    """Which of `types` a folder's images are; None when they are of none, and are left out."""
    return next((candidate for candidate in types if belongs_to(folder_type, candidate)), None)
