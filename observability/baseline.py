"""What is usual: how often each value of a feature was seen, when all was well. Drift is measured against it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from observability.specification import InvalidSpecification

LEAST_SHARE: Final = 0.1
"""Neighbouring ranges that are rarer than this are put together: of small shares the logarithm of a small change is
large, and the index would be made of noise."""

LEAST_VALUE: Final = 0.02
"""The same for values that cannot be neighbours; they are counted over longer, and the rare ones matter."""

FLOOR: Final = 1e-4
"""A share of nothing counts as this, so that its logarithm is finite."""


class Feature(BaseModel):
    """How often each value was seen.

    The keys are a label's values, or a histogram's upper bounds with `+Inf` last, in rising order; a histogram's counts
    are those of each range, not of all below it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    counts: Annotated[Mapping[str, Annotated[float, Field(ge=0)]], Field(min_length=2)]

    @property
    def total(self) -> float:
        """How many there were."""
        return sum(self.counts.values())


class Baseline(BaseModel):
    """A recorded baseline, and where it comes from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: str
    date: str
    of: str
    """What was analysed, in words."""

    models: Mapping[str, str]
    """Versions of the networks that answered, by name."""

    features: Mapping[str, Feature]


@dataclass(frozen=True, slots=True)
class Bin:
    """One part of a feature's values.

    Attributes:
        name: the value, the range, or `other`.
        share: of the baseline, 0 to 1.
        values: the label's values; empty for `other` of a label, which is all that no other bin has.
        above: lower bound of a range, as Prometheus writes it; None for none.
        upto: upper bound of a range, as Prometheus writes it.
    """

    name: str
    share: float
    values: tuple[str, ...] = ()
    above: str | None = None
    upto: str | None = None


def load(path: Path) -> Baseline:
    """A recorded baseline.

    Raises:
        InvalidSpecification: the file is none.
    """
    try:
        return Baseline.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValidationError, json.JSONDecodeError) as error:
        raise InvalidSpecification(f"{path.name}: is no baseline: {error}") from error


def value_bins(feature: Feature) -> list[Bin]:
    """Bins of a label's values: the frequent ones, and `other`, which takes what nobody saw yet too."""
    total = feature.total
    frequent = {
        value: count / total for value, count in feature.counts.items() if count >= LEAST_VALUE * total
    }
    bins = [Bin(value, share, values=(value,)) for value, share in sorted(frequent.items())]
    return [*bins, Bin("other", max(1 - sum(frequent.values()), 0.0))]


def share_bins(feature: Feature) -> list[Bin]:
    """Bins of a share: the first value, and the rest."""
    (first, some), *_ = feature.counts.items()
    share = some / feature.total
    return [Bin(first, share, values=(first,)), Bin("rest", 1 - share)]


def range_bins(feature: Feature) -> list[Bin]:
    """Bins of a histogram: neighbouring ranges together until each has its least share."""
    joined = list(_joined(list(feature.counts.values()), LEAST_SHARE * feature.total))
    bounds = list(feature.counts)
    ends = [bounds[last] for last, _ in joined]
    lows: Sequence[str | None] = [None, *ends]
    return [
        Bin(_range_name(low, high), count / feature.total, above=low, upto=high)
        for (low, high), (_, count) in zip(pairwise([*lows]), joined, strict=True)
        if high is not None
    ]


def _joined(counts: Sequence[float], least: float) -> Iterator[tuple[int, float]]:
    """Last index and sum of neighbouring counts, `least` or more together; what is left goes to the last of them."""
    groups: list[tuple[int, float]] = []
    held = 0.0
    for place, count in enumerate(counts):
        held += count
        if held >= least:
            groups.append((place, held))
            held = 0.0
    _, before = groups.pop()
    yield from groups
    yield len(counts) - 1, before + held


def _range_name(low: str | None, high: str) -> str:
    if low is None:
        return f"to {high}"
    return f"over {low}" if high == "+Inf" else f"{low} to {high}"
