"""Writes docs/reliability.md and its charts from the measurements in docs/reliability/.

python scripts/reliability.py [--check]
"""

from collections.abc import Mapping
from typing import Any, Final

from accuracy_charts import Chart
from accuracy_words import table
from measured_page import Document, MeasuredPage

COMMANDS: Final = {
    "overload": "python -m benchmarks.overload --json docs/reliability/overload.json",
    "faults": "python -m benchmarks.faults --minutes 30 --json docs/reliability/faults.json",
    "soak": "python -m benchmarks.soak --minutes 45 --json docs/reliability/soak.json",
    "hostile": "python -m benchmarks.hostile --json docs/reliability/hostile.json",
    "fuzz": "python -m benchmarks.fuzz TARGET --minutes 10 --json docs/reliability/fuzz.json",
}
"""What is measured, in the page's order, and how."""

_INTRODUCTION: Final = """\
# What it withstands

Written by `scripts/reliability.py` from the measurements in [reliability/](reliability/), all made with the real stack,
the real networks and the real client, on generated fields. Each command tells with `--help` how it measures.
"""
_FAULTS: Final = """\
## Faults

Two of every process, and faults at random moments while smears, single fields and single cells are analysed; every
answer is compared with what the same stack said undisturbed. *Answered*: seconds that a single call under way at the
fault, or else the next one, waited for its answer, and those after it where it failed. *Well again*: seconds until what
was hit said SERVING again, the fault's own length included.
"""
_SOAK: Final = """\
## Soak

An even load of smears, single fields and single cells, after a warm-up at several times that load. MB of PSS, which
divides shared pages among those who share them: medians of the first and of the last fifth of the time.
"""


def _faults(document: Document) -> str:
    rows = [
        [kind, str(figures["count"]), *_times(figures["answered_s"]), *_times(figures["whole_s"])]
        for kind, figures in document["kinds"].items()
    ]
    header = ["Fault", "n", "Answered, median", "95%", "longest", "Well again, median", "95%", "longest"]
    calls = ", ".join(f"{count} {code}" for code, count in document["single_calls"].items())
    return (
        _FAULTS
        + "\n"
        + table(header, rows)
        + f"\n{document['smears']} smears, {document['fields']} fields, {document['cells']} single cells; "
        f"{document['degraded_fields']} fields were answered by a part of the ensemble, and said so. "
        f"Single calls: {calls}.\n"
    )


def _times(figures: Mapping[str, float]) -> list[str]:
    return [f"{figures[key]:.1f}" if key in figures else "" for key in ("p50", "p95", "max")]


def _soak(document: Document) -> str:
    rows = [
        [
            name,
            *(f"{held['own'][end] / 1e6:.1f}" for end in ("first", "last")),
            *(f"{held[what][end]}" for what in ("handles", "threads") for end in ("first", "last")),
        ]
        for name, held in document["processes"].items()
    ]
    header = [
        *("Process", "MB, first", "MB, last"),
        *("Handles, first", "Handles, last", "Threads, first", "Threads, last"),
    ]
    return (
        _SOAK
        + "\n"
        + table(header, rows)
        + f"\n{document['fields']} fields and {document['cells']} single cells in {document['seconds'] / 60:.0f} "
        f"minutes after the warm-up. A straight line through all looks rises by {100 * document['slope']:.2f}%.\n"
    )


def charts(documents: Mapping[str, Document]) -> list[Chart]:
    """The charts for which there are figures."""
    drawn = []
    if (faults := documents.get("faults")) is not None:
        series = {
            "bin_s": faults["fields_per_second"]["bin_s"],
            "fields_per_second": faults["fields_per_second"]["values"],
            "load": faults["load_fields_per_second"],
            "struck": [[one["at_s"], one["kind"]] for one in faults["struck"]],
        }
        drawn.append(
            Chart(
                "faults.svg",
                "Fields per second while faults strike",
                series,
                _draw_faults,
                (7.6, 4.4),
                panels=2,
            )
        )
    if (soak := documents.get("soak")) is not None:
        series = {"own": soak["own_over_time"]}
        drawn.append(
            Chart(
                "soak.svg", "Memory that the stack has written, over the soak", series, _draw_soak, (7.6, 2.8)
            )
        )
    return drawn


def _draw_faults(axes: Any, series: Mapping[str, Any]) -> None:
    above, below = axes
    minutes = [(place + 0.5) * series["bin_s"] / 60 for place in range(len(series["fields_per_second"]))]
    above.plot(minutes, series["fields_per_second"])
    above.set_ylabel("fields a second")
    above.set_ylim(bottom=0)
    kinds = sorted({kind for _, kind in series["struck"]})
    for height, kind in enumerate(kinds):
        at = [at_s / 60 for at_s, struck in series["struck"] if struck == kind]
        below.scatter(at, [height] * len(at), marker="|", s=40)
    below.set_yticks(range(len(kinds)), kinds)
    below.set_xlabel("minutes")


def _draw_soak(axes: Any, series: Mapping[str, Any]) -> None:
    axes.plot([at_s / 60 for at_s, _ in series["own"]], [own / 1e6 for _, own in series["own"]])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("minutes after the warm-up")
    axes.set_ylabel("MB")


PAGE: Final = MeasuredPage(
    name="reliability",
    introduction=_INTRODUCTION,
    commands=COMMANDS,
    sections={"faults": _faults, "soak": _soak},
    charts=charts,
)

if __name__ == "__main__":
    PAGE.main(__doc__)
