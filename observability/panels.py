"""What a dashboard is made of, as data, and the PromQL that many panels have."""

from dataclasses import dataclass
from typing import Final, Literal

RATE: Final = "$__rate_interval"
"""Grafana's name for a window that holds enough scrapes."""

Kind = Literal["lines", "numbers", "bars"]
"""`lines` over time, `numbers` of now, or `bars` of now."""

Unit = Literal["percentunit", "s", "reqps", "short", "bytes", "ops", "dateTimeFromNow"]
"""Grafana's names."""


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, and what its series are called: Grafana's template of labels."""

    expression: str
    legend: str

    def over(self, window: str) -> str:
        """The query with a window of its own, for others than Grafana."""
        return self.expression.replace(RATE, window)


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        may_be_empty: why there may be nothing to show although all is well; empty where there must be something.
    """

    title: str
    meaning: str
    unit: Unit
    queries: tuple[Query, ...]
    kind: Kind = "lines"
    may_be_empty: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels side by side, with a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One dashboard; `name` is its file's, and part of its address."""

    name: str
    title: str
    meaning: str
    rows: tuple[Row, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        """All panels."""
        return tuple(panel for row in self.rows for panel in row.panels)


def quantile(share: float, histogram: str, by: str = "", select: str = "") -> str:
    """A quantile of a histogram over time, in PromQL."""
    kept = f"le, {by}" if by else "le"
    return f"histogram_quantile({share:g}, sum by ({kept}) (rate({histogram}_bucket{select}[{RATE}])))"


def rate(counter: str, by: str, select: str = "") -> str:
    """How often a second, in PromQL."""
    return f"sum by ({by}) (rate({counter}{select}[{RATE}]))"


def mean(histogram: str, by: str) -> str:
    """The mean of a histogram's values, in PromQL; none where there were none."""
    total, count = (f"sum by ({by}) (rate({histogram}_{end}[{RATE}]))" for end in ("sum", "count"))
    return f"{total} / ({count} > 0)"
