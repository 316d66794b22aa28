"""What a service promises: the files in deploy/observability/slos, as objects."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from observability.signals import SIGNALS, Signal
from observability.windows import BURNS, Severity

Slug = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$")]
AlertName = Annotated[str, Field(pattern=r"^[A-Z][A-Za-z0-9]+$")]
Line = Annotated[str, Field(pattern=r"^[^\n]+$")]

Read = TypeVar("Read", bound="Model")


class InvalidSpecification(Exception):
    """A file that does not say what it has to; the message names file, field, value and what is allowed."""


class Model(BaseModel):
    """Frozen, and no field that nobody knows."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Selector(Model):
    """Series of one signal."""

    signal: str
    """The signal's declared name."""

    labels: Mapping[str, str] = {}
    """What labels have to be."""

    matching: Mapping[str, str] = {}
    """Regular expressions that labels have to match as a whole."""

    @model_validator(mode="after")
    def _is_declared(self) -> Self:
        if self.signal not in SIGNALS:
            raise ValueError(
                f"signal: {self.signal!r}; allowed: one that services/runtime/signals.py declares"
            )
        if unknown := {*self.labels, *self.matching} - set(SIGNALS[self.signal].labels):
            raise ValueError(
                f"labels: {', '.join(sorted(unknown))}; allowed: {', '.join(SIGNALS[self.signal].labels)}"
            )
        return self

    @property
    def declared(self) -> Signal:
        """The signal."""
        return SIGNALS[self.signal]

    def select(self, suffix: str = "", **more: str) -> str:
        """The selector in PromQL.

        Args:
            suffix: of the series' name, e.g. `_bucket`.
            more: further matchers, operator included, e.g. `le='="0.5"'`.
        """
        matchers = [f'{name}="{value}"' for name, value in self.labels.items()]
        matchers += [f'{name}=~"{value}"' for name, value in self.matching.items()]
        matchers += [f"{name}{matcher}" for name, matcher in more.items()]
        return f"{self.signal}{suffix}" + (f"{{{', '.join(matchers)}}}" if matchers else "")

    def below(self, bound: str) -> str:
        """Those of a histogram's values that are not above a bound."""
        return self.select("_bucket", le=f'="{bound}"')


class Errors(Selector):
    """Events of a counter, some of which are bad."""

    kind: Literal["errors"]

    bad: Mapping[str, tuple[str, ...]]
    """The label, and which of its values are bad."""

    @model_validator(mode="after")
    def _can_be_told_apart(self) -> Self:
        if len(self.bad) != 1:
            raise ValueError(f"bad: {len(self.bad)} labels; allowed: one")
        label = next(iter(self.bad))
        if label not in self.declared.labels or label in self.labels:
            raise ValueError(f"bad: {label!r}; allowed: a label of {self.signal} that is not selected by")
        if self.declared.kind != "counter":
            raise ValueError(f"signal: a {self.declared.kind}; allowed: a counter")
        return self

    @property
    def bad_label(self) -> str:
        """The label that tells good from bad."""
        return next(iter(self.bad))

    def error_ratio(self, window: str) -> str:
        """The share of bad events over a window, in PromQL: none without events, 0 without bad ones."""
        chosen = "|".join(self.bad[self.bad_label])
        bad = self.select(**{self.bad_label: f'=~"{chosen}"'})
        return _ratio(bad, self.select(), window)

    def events(self, window: str) -> str:
        """How many events there were, in PromQL."""
        return f"sum(increase({self.select()}[{window}]))"


class Share(Selector):
    """Events of a counter that are bad, of those of another."""

    kind: Literal["share"]

    of: Selector
    """All events."""

    def error_ratio(self, window: str) -> str:
        """The share of bad events over a window, in PromQL: none without events, 0 without bad ones."""
        return _ratio(self.select(), self.of.select(), window)

    def events(self, window: str) -> str:
        """How many events there were, in PromQL."""
        return f"sum(increase({self.of.select()}[{window}]))"


class Latency(Selector):
    """Events of a histogram, those of which are bad that took longer than a bound."""

    kind: Literal["latency"]

    within_s: float
    """Seconds; one of the histogram's bounds."""

    @model_validator(mode="after")
    def _has_this_bound(self) -> Self:
        if self.declared.kind != "histogram":
            raise ValueError(f"signal: a {self.declared.kind}; allowed: a histogram")
        if self.within_s not in self.declared.buckets:
            raise ValueError(
                f"within_s: {self.within_s:g}; allowed: a bound of {self.signal}, "
                f"{', '.join(f'{bound:g}' for bound in self.declared.buckets)}"
            )
        return self

    def error_ratio(self, window: str) -> str:
        """The share of events that took longer, over a window, in PromQL; none without events."""
        good = self.below(str(self.within_s))
        return f"1 - sum(rate({good}[{window}])) / sum(rate({self.select('_count')}[{window}]))"

    def events(self, window: str) -> str:
        """How many events there were, in PromQL."""
        return f"sum(increase({self.select('_count')}[{window}]))"


class Slo(Model):
    """One promise."""

    name: Slug
    alert: AlertName
    """Its alerts' name; several promises may share one, and so its runbook."""

    promise: Line
    """The promise in a sentence, for people."""

    why: Line
    """Where the figures come from."""

    summary: Line
    """What somebody is told who is woken by it."""

    objective: Annotated[float, Field(gt=0.5, lt=1)]
    """The share of events that must be good over the period."""

    least_bad: Annotated[int, Field(ge=1)] = 3
    """With fewer bad events in an alert's long window it is silent: at night, one among a few is a large share and says
    little. That all of a few are bad is told."""

    indicator: Annotated[Errors | Share | Latency, Field(discriminator="kind")]

    @model_validator(mode="after")
    def _can_burn(self) -> Self:
        if (most := max(burn.factor for burn in BURNS) * self.budget) >= 1:
            raise ValueError(
                f"objective: {self.objective}, with which the fastest alert waits for {most:.0%} of all events "
                "to be bad; allowed: a higher one"
            )
        return self

    @property
    def budget(self) -> float:
        """The share of events that may be bad."""
        return round(1 - self.objective, 12)


class Condition(Model):
    """Something that must not be, whatever was promised."""

    alert: AlertName
    severity: Severity
    summary: Line
    expression: str
    """PromQL; what it yields is wrong."""

    lasting_s: Annotated[int, Field(ge=0)]
    """For how long, before somebody is told."""


class Service(Model):
    """What one service promises."""

    service: Slug
    slos: tuple[Slo, ...]

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [slo.name for slo in self.slos]
        if len(names) != len(set(names)):
            raise ValueError(f"slos: {', '.join(names)}; allowed: names that differ")
        return self


class Conditions(Model):
    """All conditions."""

    conditions: tuple[Condition, ...]


def load(path: Path, model: type[Read]) -> Read:
    """A file's contents.

    Raises:
        InvalidSpecification: see there.
    """
    try:
        return model.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise InvalidSpecification(f"{path.name}: is no YAML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidSpecification(f"{path.name}: {where}: {first['msg']}") from error


def _ratio(bad: str, every: str, window: str) -> str:
    """Of counters; a series of what was never bad does not exist, which is 0 and not unknown."""
    total = f"sum(rate({every}[{window}]))"
    return f"sum(rate({bad}[{window}])) / {total} or 0 * {total}"
