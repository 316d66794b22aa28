"""From a baseline to rules: how far what is seen now is from it, and alerts that it is too far.

The population stability index of shares p now and q in the baseline is the sum of (p - q) ln(p / q): Jeffreys'
divergence, with the names and limits of Siddiqi, "Credit Risk Scorecards" (2006): below 0.1 no change, above 0.25 a
substantial one. Of n values now and m in the baseline, without any drift, it is about (1/n + 1/m) times a chi-squared
variable with one degree of freedom less than there are bins (Yurdakul, "Statistical Properties of Population Stability
Index", 2018), which says how many values an alert needs to be more than noise: `least_events`.

Total variation is half the sum of |p - q|: with two bins, the change of either share.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from observability.baseline import FLOOR, Baseline, Bin, range_bins, share_bins, value_bins
from observability.rules import TEMPLATES, Alert, Group, Record
from observability.specification import AlertName, Line, Model, Selector, Slug
from observability.windows import Scale, Severity, duration

SHARE: Final = "hemaserve:drift_share:ratio"
USUAL: Final = "hemaserve:drift_baseline:ratio"
EVENTS: Final = "hemaserve:drift_events:increase"
DISTANCE: Final = "hemaserve:drift_distance:index"
LIMIT: Final = "hemaserve:drift_limit:index"

_EVERY_S: Final = 120

Measure = Literal["stability_index", "total_variation"]


class Watched(Model):
    """A feature whose drift is watched."""

    feature: Slug
    alert: AlertName
    summary: Line
    why: Line
    """Where window and limits come from."""

    values: Selector
    """A counter or a histogram."""

    by: str | None = None
    """The counter's label whose values are compared."""

    of: Selector | None = None
    """A counter of all, of which `values` counts some: their share is compared."""

    measure: Measure
    window_s: Annotated[int, Field(ge=60)]
    """Long enough to hold many smears: one patient's blood is no drift."""

    least_events: Annotated[int, Field(ge=1)]
    limits: Annotated[dict[Severity, Annotated[float, Field(gt=0)]], Field(min_length=1)]

    @model_validator(mode="after")
    def _has_values(self) -> Self:
        kind = self.values.declared.kind
        told = (self.by is not None) + (self.of is not None)
        if (kind, told) not in {("histogram", 0), ("counter", 1)}:
            raise ValueError(
                f"values: a {kind} with {told} of `by` and `of`; allowed: a counter with one, a histogram with none"
            )
        if self.by is not None and self.by not in self.values.declared.labels:
            raise ValueError(f"by: {self.by!r}; allowed: {', '.join(self.values.declared.labels)}")
        return self

    def bins(self, baseline: Baseline) -> list[Bin]:
        """The parts of its values that are compared."""
        feature = baseline.features[self.feature]
        if self.of is not None:
            return share_bins(feature)
        return range_bins(feature) if self.by is None else value_bins(feature)

    def count(self, one: Bin, bins: Sequence[Bin], window: str) -> str:
        """How many values of a bin there were, in PromQL; 0 where none ever was."""
        if self.of is not None:
            some = f"(sum(increase({self.values.select()}[{window}])) or vector(0))"
            return some if one.values else f"({self.total(window)} - {some})"
        if self.by is not None:
            others = "|".join(value for each in bins for value in each.values)
            matcher = f'="{one.values[0]}"' if one.values else f'!~"{others}"'
            return f"(sum(increase({self.values.select(**{self.by: matcher})}[{window}])) or vector(0))"
        below = [
            f"sum(increase({self.values.below(bound)}[{window}]))"
            for bound in (one.upto, one.above)
            if bound is not None
        ]
        return f"({' - '.join(below)})"

    def total(self, window: str) -> str:
        """How many values there were, in PromQL."""
        every = self.of.select() if self.of else self.values.select("" if self.by else "_count")
        return f"sum(increase({every}[{window}]))"


class Drift(Model):
    """All that is watched."""

    features: tuple[Watched, ...]


def groups(drift: Drift, baseline: Baseline, scale: Scale = Scale()) -> list[Group]:
    """The rules of all watched features."""
    every_s = scale.every(_EVERY_S)
    return [
        Group(f"hemaserve-drift-{one.feature}", list(_rules(one, baseline, scale)), every_s)
        for one in drift.features
    ]


def distance(measure: Measure, now: Sequence[float], usual: Sequence[float]) -> float:
    """What the rules compute: how far shares are from the usual ones, which add up to 1 each."""
    if measure == "total_variation":
        return sum(abs(p - q) for p, q in zip(now, usual, strict=True)) / 2
    floored = [(max(p, FLOOR), max(q, FLOOR)) for p, q in zip(now, usual, strict=True)]
    return sum((p - q) * math.log(p / q) for p, q in floored)


def moved(measure: Measure, usual: Sequence[float], far: float) -> list[float]:
    """Shares that are so far from the usual ones, by more and more values in the rarest part.

    Raises:
        ValueError: no shares are so far.
    """
    rarest = min(range(len(usual)), key=usual.__getitem__)

    def mixed(by: float) -> list[float]:
        return [(1 - by) * share + by * (place == rarest) for place, share in enumerate(usual)]

    low, high = 0.0, 1.0
    if distance(measure, mixed(high), usual) < far:
        raise ValueError(f"far: {far:g}; allowed: up to {distance(measure, mixed(high), usual):g}")
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if distance(measure, mixed(middle), usual) < far else (low, middle)
    return mixed(high)


def _rules(one: Watched, baseline: Baseline, scale: Scale) -> Iterator[Record | Alert]:
    window, bins = scale.window(one.window_s), one.bins(baseline)
    feature = {"feature": one.feature}
    told = f'{{feature="{one.feature}"}}'
    for each in bins:
        part = {**feature, "bin": each.name}
        yield Record(USUAL, f"vector({max(each.share, FLOOR):.6g})", part)
        yield Record(SHARE, f"{one.count(each, bins, window)} / {one.total(window)}", part)
    yield Record(EVENTS, one.total(window), feature)
    yield Record(DISTANCE, _distance(one.measure, told), feature)
    for severity, limit in one.limits.items():
        yield Record(LIMIT, f"vector({limit:g})", {**feature, "severity": severity})
        yield alert(one, severity)


def alert(one: Watched, severity: Severity) -> Alert:
    """The alert that a feature has drifted."""
    told = f'{{feature="{one.feature}"}}'
    limit = one.limits[severity]
    return Alert(
        name=one.alert,
        expression=f"{DISTANCE}{told} > {limit:g}\nand {EVENTS}{told} >= {one.least_events}\n",
        severity=severity,
        summary=one.summary,
        description=(
            f"{_NAMES[one.measure]} {TEMPLATES['number']} over {duration(one.window_s)}; "
            f"the limit is {limit:g}."
        ),
        labels={"feature": one.feature},
    )


def _distance(measure: Measure, told: str) -> str:
    now, usual = f"{SHARE}{told}", f"{USUAL}{told}"
    if measure == "total_variation":
        return f"sum by (feature) (abs({now} - {usual})) / 2"
    now = f"clamp_min({now}, {FLOOR:g})"
    return f"sum by (feature) (({now} - {usual}) * ln({now} / {usual}))"


_NAMES: Final = {"stability_index": "Population stability index", "total_variation": "Total variation"}
