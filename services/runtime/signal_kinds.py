"""What a declaration of a signal is made of."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Owner(StrEnum):
    """Who gives a signal."""

    GATEWAY = "gateway"
    DETECTOR = "detector"
    CLASSIFIER = "classifier"
    TRITON = "triton"


class MetricKind(StrEnum):
    """Of what sort a metric is."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Needs(StrEnum):
    """What a service must be set up with to have a signal at all."""

    NOTHING = ""
    TLS = "TLS"
    ACCESS = "an access file"


OTHER: Final = "other"
"""What stands in the place of a label's value that is not among those that it may have."""


@dataclass(frozen=True, slots=True)
class Label:
    """A label of metrics.

    Attributes:
        name: its name.
        meaning: what it tells.
        values: what it may be; empty where that is not known beforehand.
        most: of how many values it may be then; the first ones are taken.
    """

    name: str
    meaning: str
    values: tuple[str, ...] = ()
    most: int = 0

    @property
    def cardinality(self) -> int:
        """How many values there may be, `OTHER` among them."""
        return (len(self.values) or self.most) + 1


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric.

    Attributes:
        name: as Prometheus knows it; a counter's ends in `_total`.
        kind: of what sort it is.
        unit: of its value; empty for a number of things.
        meaning: what it tells, in one line.
        owners: the services that have it.
        labels: in their order.
        buckets: upper bounds of a histogram's.
        needs: what a service must be set up with to have it.
    """

    name: str
    kind: MetricKind
    unit: str
    meaning: str
    owners: tuple[Owner, ...]
    labels: tuple[Label, ...] = ()
    buckets: tuple[float, ...] = ()
    needs: Needs = Needs.NOTHING


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of spans; never anything that a caller says freely."""

    name: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Span:
    """A span.

    Attributes:
        name: its name.
        meaning: what happens in it.
        owners: the services that record it.
        parents: names of the spans that it may be in; `RPC` for that of a call.
        stage: whether it is a stage, which `hemaserve_stage_duration_seconds` has too.
        attributes: what it carries.
    """

    name: str
    meaning: str
    owners: tuple[Owner, ...]
    parents: tuple[str, ...]
    stage: bool = True
    attributes: tuple[Attribute, ...] = ()


@dataclass(frozen=True, slots=True)
class ForeignMetric:
    """A metric that a library or Triton brings, as far as we use it or show it.

    Attributes:
        name: as Prometheus knows it.
        kind: of what sort it is.
        meaning: what it tells.
        owners: who gives it.
        labels: names of its labels.
    """

    name: str
    kind: MetricKind
    meaning: str
    owners: tuple[Owner, ...]
    labels: tuple[str, ...] = ()


G, D, C = Owner.GATEWAY, Owner.DETECTOR, Owner.CLASSIFIER
EVERY: Final = (G, D, C)
WITH_NETWORKS: Final = (D, C)
