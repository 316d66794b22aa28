"""The report of an evaluation of explanations as tables for the terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hemaserve.evaluation.explanation_report import ExplanationReport
from hemaserve.evaluation.metrics import Interval
from hemaserve.evaluation.tables import percent, percent_with_interval, summary_table


def explanation_tables(report: ExplanationReport) -> RenderableType:
    """The cells, how far the type falls for each blot, and what the map's own does beyond the others."""
    summary = summary_table(
        "Explanations",
        [
            ("cells", str(report.n)),
            ("cells in which nothing speaks for the type", str(report.unmarked)),
            ("blotted out of each crop", percent(report.share)),
            ("mean probability of the type before", percent(report.probability)),
            ("no detection at the centre", str(report.fallbacks)),
            *([("answered without all members", str(report.degraded))] if report.degraded else []),
            ("seconds", f"{report.seconds:.1f}"),
        ],
    )
    notice = Text("A map shows what the networks went by, not whether they are right.", style="dim")
    return Group(summary, _falls(report), _comparisons(report), notice)


def _falls(report: ExplanationReport) -> Table:
    table = _table("How far the type falls, with 95% intervals", "blotted out")
    rows = {
        "what the map marks most": report.marked,
        "what it marks least": report.least,
        "the same shape at random places": report.random,
        "the middle of the crop": report.middle,
    }
    for name, fall in rows.items():
        table.add_row(
            name,
            percent_with_interval(fall.probability, fall.probability_ci95),
            _nats(fall.log_odds, fall.log_odds_ci95),
        )
    return table


def _comparisons(report: ExplanationReport) -> Table:
    table = _table("How much further for what the map marks most, cell by cell", "than for")
    table.add_column("further in", justify="right")
    rows = {
        "what it marks least": report.marked_than_least,
        "the same shape at random places": report.marked_than_random,
        "the middle of the crop": report.marked_than_middle,
    }
    for name, than in rows.items():
        table.add_row(
            name,
            percent_with_interval(than.probability, than.probability_ci95),
            _nats(than.log_odds, than.log_odds_ci95),
            percent_with_interval(than.more, than.more_ci95),
        )
    return table


def _table(title: str, first: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for name in ("probability", "log-odds"):
        table.add_column(name, justify="right")
    return table


def _nats(value: float, interval: Interval) -> str:
    return f"{value:.2f} ({interval[0]:.2f} to {interval[1]:.2f})"
