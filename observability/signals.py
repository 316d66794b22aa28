"""The signals that rules and dashboards may use: those of services/runtime/signals.py, and what Prometheus adds."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from services.runtime.foreign_signals import FOREIGN_METRICS
from services.runtime.signal_kinds import MetricKind
from services.runtime.signals import METRICS

_ENDINGS: Final = ("_bucket", "_count", "_sum")


@dataclass(frozen=True, slots=True)
class Signal:
    """A metric, as far as queries need to know it.

    Attributes:
        labels: names of its labels, without those that come from scraping.
        buckets: upper bounds of a histogram's.
    """

    name: str
    kind: MetricKind
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


SCRAPED: Final = ("job", "instance")
"""Labels that every series has from its scraping: the service's name, and where it was scraped."""

SIGNALS: Final[Mapping[str, Signal]] = MappingProxyType(
    {
        **{
            one.name: Signal(one.name, one.kind, tuple(label.name for label in one.labels), one.buckets)
            for one in METRICS
        },
        **{one.name: Signal(one.name, one.kind, one.labels) for one in FOREIGN_METRICS},
        "up": Signal("up", MetricKind.GAUGE),
    }
)


def signal_of(series: str) -> Signal | None:
    """The signal that a series belongs to, whose name may have a histogram's endings; None when nobody declares it."""
    if series in SIGNALS:
        return SIGNALS[series]
    for ending in _ENDINGS:
        found = SIGNALS.get(series.removesuffix(ending)) if series.endswith(ending) else None
        if found is not None and found.kind is MetricKind.HISTOGRAM:
            return found
    return None
