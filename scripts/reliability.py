"""Writes docs/reliability.md and its charts from the measurements in docs/reliability/.

    python scripts/reliability.py [--check]

Each measurement is a JSON file that a command under benchmarks/ wrote. It has `command`, what facts() of
benchmarks/machine.py says, and `claims`, see benchmarks/claims.py; what else is known of it has a section of its own.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from accuracy_charts import Chart
from accuracy_words import NOT_MEASURED, table

ROOT: Final = Path(__file__).resolve().parent.parent
PAGE: Final = ROOT / "docs" / "reliability.md"
RESULTS: Final = ROOT / "docs" / "reliability"

Document = dict[str, Any]

COMMANDS: Final = {
    "overload": "python -m benchmarks.overload --json docs/reliability/overload.json",
    "faults": "python -m benchmarks.faults --minutes 30 --json docs/reliability/faults.json",
    "soak": "python -m benchmarks.soak --minutes 45 --json docs/reliability/soak.json",
    "hostile": "python -m benchmarks.hostile --json docs/reliability/hostile.json",
    "fuzz": "python -m benchmarks.fuzz TARGET --minutes 10 --json docs/reliability/fuzz.json",
}
"""What is measured, in the page's order, and how."""

NEEDED: Final = frozenset({"command", "claims", "date", "cpu", "cores", "memory_gb", "versions"})
"""What each measurement says."""

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


def load(folder: Path) -> dict[str, Document]:
    """The measurements by name, in the page's order; those that nobody knows come last.

    Raises:
        SystemExit: one lacks something that the page needs of each.
    """
    found = {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))
    }
    for name, document in found.items():
        if missing := NEEDED - set(document):
            raise SystemExit(f"{name}.json lacks {', '.join(sorted(missing))}")
    return {name: found[name] for name in (*COMMANDS, *sorted(set(found) - set(COMMANDS))) if name in found}


def rendered(documents: Mapping[str, Document]) -> tuple[str, list[Chart]]:
    """The page, and the charts on it."""
    drawn = charts(documents)
    sections = [_INTRODUCTION, _claims(documents)]
    sections += [write(documents[name]) for name, write in _SECTIONS.items() if name in documents]
    sections += [f"![{chart.title}](reliability/{chart.name})\n" for chart in drawn]
    sections.append(_measurements(documents))
    return "\n".join(sections), drawn


def _claims(documents: Mapping[str, Document]) -> str:
    rows = [
        [one["claim"], one["bar"], one["measured"], "yes" if one["holds"] else "**no**"]
        for document in documents.values()
        for one in document["claims"]
    ]
    rows += [[name.capitalize(), "", NOT_MEASURED, ""] for name in COMMANDS if name not in documents]
    return table(["Claim", "Has to be", "Measured", "Holds"], rows)


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


_SECTIONS: Final[Mapping[str, Callable[[Document], str]]] = {"faults": _faults, "soak": _soak}


def _measurements(documents: Mapping[str, Document]) -> str:
    rows = [
        [
            f"`{document['command']}`",
            document["date"],
            f"{document['cpu']}, {document['cores']} cores, {document['memory_gb']} GB",
            ", ".join(f"{package} {version}" for package, version in document["versions"].items()),
        ]
        for document in documents.values()
    ]
    rows += [
        [f"`{command}`", NOT_MEASURED, "", ""]
        for name, command in COMMANDS.items()
        if command and name not in documents
    ]
    return "## The commands\n\n" + table(["Command", "Date", "Machine", "Versions"], rows)


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


def check(page_file: Path = PAGE, results: Path = RESULTS) -> None:
    """Compare the page and its charts with the measurements.

    Raises:
        SystemExit: they are not current.
    """
    page, drawn = rendered(load(results))
    stale = [f"docs/reliability/{chart.name}" for chart in drawn if not chart.is_current(results)]
    if not page_file.is_file() or page_file.read_text(encoding="utf-8") != page:
        stale.append("docs/reliability.md")
    if stale:
        raise SystemExit(f"not current: {', '.join(stale)}; run python scripts/reliability.py")


def write(page_file: Path = PAGE, results: Path = RESULTS) -> None:
    """Write the page and its charts anew."""
    page, drawn = rendered(load(results))
    results.mkdir(exist_ok=True)
    for chart in drawn:
        chart.write(results)
    page_file.write_text(page, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when the page is not current"
    )
    if parser.parse_args().check:
        check()
    else:
        write()


if __name__ == "__main__":
    main()
