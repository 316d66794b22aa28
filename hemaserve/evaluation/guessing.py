"""From probabilities to the type that an image was taken for, and whether that is right. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hemaserve.cells import CellType, belongs_to, primary_of
from hemaserve.errors import InvalidArgument

Probabilities = Mapping[CellType, float]
"""Calibrated probabilities, over the leaf types that the network knows unless said otherwise."""


@dataclass(frozen=True, slots=True)
class Belief:
    """What the classifier says of one cell whose type is known: what calibration and abstention are judged by.

    Attributes:
        probabilities: over the types to choose from, primary ones unless said otherwise; they sum to 1.
        truth: the right type; it may be one that the network does not know.
        identified: whether the classifier commits itself.
    """

    probabilities: Probabilities
    truth: CellType
    identified: bool

    @property
    def answer(self) -> CellType:
        """The type with the largest probability."""
        return most_probable(self.probabilities)

    @property
    def probability(self) -> float:
        """What the answer was said to be worth, 0 to 1."""
        return self.probabilities[self.answer]

    @property
    def right(self) -> bool:
        return self.answer is self.truth


@dataclass(frozen=True, slots=True)
class Guess:
    """What one image was taken for.

    Attributes:
        truth: the type that its folder stands for.
        answer: the best guess, whether or not the classifier commits itself.
        belief: over the primary types, also where the folder is named after a finer one; over the types of a closed
            set, renormalised.
    """

    truth: CellType
    answer: CellType
    belief: Belief

    @property
    def right(self) -> bool:
        return self.answer is self.truth

    @property
    def identified(self) -> bool:
        return self.belief.identified


@dataclass(frozen=True, slots=True)
class LeafGuess:
    """What one image whose leaf type is known was taken for, among the leaves.

    Attributes:
        truth: the leaf.
        answer: the likeliest leaf of the likeliest primary type.
        in_branch: the likeliest leaf below the right primary type, whichever primary type is the likeliest.
    """

    truth: CellType
    answer: CellType
    in_branch: CellType


def primary_probabilities(probabilities: Probabilities) -> dict[CellType, float]:
    """The probability of each primary type: the sum over its leaves."""
    sums: dict[CellType, float] = {}
    for leaf, probability in probabilities.items():
        sums[primary_of(leaf)] = sums.get(primary_of(leaf), 0.0) + probability
    return sums


def most_probable(probabilities: Probabilities) -> CellType:
    """The type with the largest probability, the first one where several have it. There must be one."""
    return max(probabilities, key=lambda cell_type: probabilities[cell_type])


def best_leaf(probabilities: Probabilities, primary: CellType) -> CellType:
    """The likeliest leaf below a primary type of which there is a leaf."""
    return most_probable({leaf: p for leaf, p in probabilities.items() if primary_of(leaf) is primary})


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
    belief = Belief(primary_probabilities(probabilities), primary_of(truth), identified)
    answer = primary = belief.answer
    if any(primary_of(name) is primary and name is not primary for name in folder_types):
        answer = best_leaf(probabilities, primary)
    if belongs_to(answer, truth):
        answer = truth
    return Guess(truth, answer, belief)


def closed_guess(
    probabilities: Probabilities, truth: CellType, types: Sequence[CellType], *, identified: bool
) -> Guess:
    """The best guess among `types` only: what a published figure over that set of types compares with.

    The probabilities are renormalised over `types`; where the network knows none of them, they are 0.

    Args:
        truth: one of `types`.
    """
    sums = {
        candidate: sum(p for leaf, p in probabilities.items() if belongs_to(leaf, candidate))
        for candidate in types
    }
    total = sum(sums.values())
    belief = Belief({t: p / total if total > 0 else 0.0 for t, p in sums.items()}, truth, identified)
    return Guess(truth, belief.answer, belief)


def leaf_guess(probabilities: Probabilities, truth: CellType) -> LeafGuess | None:
    """The best guess among the leaves; None when the network does not know `truth`, so that it is no leaf here."""
    if truth not in probabilities:
        return None
    likeliest = most_probable(primary_probabilities(probabilities))
    return LeafGuess(truth, best_leaf(probabilities, likeliest), best_leaf(probabilities, primary_of(truth)))


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


def can_answer(leaves: Iterable[CellType], truth: CellType) -> bool:
    """Whether a network that answers `leaves` can ever be right about a cell whose label is `truth`."""
    return any(belongs_to(leaf, truth) for leaf in leaves)


def closed_truth(folder_type: CellType, types: Sequence[CellType]) -> CellType | None:
    """Which of `types` a folder's images are; None when they are of none, and are left out."""
    return next((candidate for candidate in types if belongs_to(folder_type, candidate)), None)
