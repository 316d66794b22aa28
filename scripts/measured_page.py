"""A page of docs/ that is made of measurements: JSON files in a folder beside it, each written by a benchmark.

Each has `command`, what facts() of benchmarks/machine.py says, and `claims`, see benchmarks/claims.py; what else is
known of it has a section of its own.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from accuracy_charts import Chart
from accuracy_words import NOT_MEASURED, table

DOCS: Final = Path(__file__).resolve().parent.parent / "docs"

Document = dict[str, Any]
Documents = Mapping[str, Document]

NEEDED: Final = frozenset({"command", "claims", "date", "cpu", "cores", "memory_gb", "versions"})
"""What each measurement says."""


@dataclass(frozen=True)
class MeasuredPage:
    """Such a page.

    Attributes:
        name: of the page, of the folder of its measurements, and of the script that writes it.
        introduction: its beginning.
        commands: what is measured, in the page's order, and how.
        sections: what is told of a measurement beyond its claims.
        charts: those for which there are figures.
    """

    name: str
    introduction: str
    commands: Mapping[str, str]
    sections: Mapping[str, Callable[[Document], str]]
    charts: Callable[[Documents], list[Chart]]

    @property
    def file(self) -> Path:
        """The page."""
        return DOCS / f"{self.name}.md"

    @property
    def results(self) -> Path:
        """The folder of its measurements."""
        return DOCS / self.name

    def load(self, folder: Path) -> dict[str, Document]:
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
        order = (*self.commands, *sorted(set(found) - set(self.commands)))
        return {name: found[name] for name in order if name in found}

    def rendered(self, documents: Documents) -> tuple[str, list[Chart]]:
        """The page, and the charts on it."""
        drawn = self.charts(documents)
        parts = [self.introduction, self._claims(documents)]
        parts += [write(documents[name]) for name, write in self.sections.items() if name in documents]
        parts += [f"![{chart.title}]({self.name}/{chart.name})\n" for chart in drawn]
        parts.append(self._measurements(documents))
        return "\n".join(parts), drawn

    def _claims(self, documents: Documents) -> str:
        rows = [
            [one["claim"], one["bar"], one["measured"], "yes" if one["holds"] else "**no**"]
            for document in documents.values()
            for one in document["claims"]
        ]
        rows += [[name.capitalize(), "", NOT_MEASURED, ""] for name in self.commands if name not in documents]
        return table(["Claim", "Has to be", "Measured", "Holds"], rows)

    def _measurements(self, documents: Documents) -> str:
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
            for name, command in self.commands.items()
            if name not in documents
        ]
        return "## The commands\n\n" + table(["Command", "Date", "Machine", "Versions"], rows)

    def check(self, page: Path | None = None, results: Path | None = None) -> None:
        """Compare the page and its charts with the measurements.

        Raises:
            SystemExit: they are not current.
        """
        page, results = page or self.file, results or self.results
        text, drawn = self.rendered(self.load(results))
        stale = [f"docs/{self.name}/{chart.name}" for chart in drawn if not chart.is_current(results)]
        if not page.is_file() or page.read_text(encoding="utf-8") != text:
            stale.append(f"docs/{self.name}.md")
        if stale:
            raise SystemExit(f"not current: {', '.join(stale)}; run python scripts/{self.name}.py")

    def write(self, page: Path | None = None, results: Path | None = None) -> None:
        """Write the page and its charts anew."""
        page, results = page or self.file, results or self.results
        text, drawn = self.rendered(self.load(results))
        results.mkdir(exist_ok=True)
        for chart in drawn:
            chart.write(results)
        page.write_text(text, encoding="utf-8")

    def main(self, description: str | None) -> None:
        """The script."""
        parser = argparse.ArgumentParser(
            description=description, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        parser.add_argument(
            "--check", action="store_true", help="write nothing; fail when the page is not current"
        )
        if parser.parse_args().check:
            self.check()
        else:
            self.write()
