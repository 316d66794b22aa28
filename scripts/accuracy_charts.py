"""The charts of docs/accuracy.md, as SVG files beside its figures.

Each chart carries the numbers that it shows in its metadata, so that it can be compared with the figures without
comparing how it was drawn.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
from accuracy_measurements import Document, Results
from matplotlib.figure import Figure

from hemaserve.evaluation.pictures import STYLE

_DESCRIPTION = "{http://purl.org/dc/elements/1.1/}description"


@dataclass(frozen=True)
class Chart:
    """A chart that is not drawn yet.

    Attributes:
        name: of its file.
        title: what it shows, for those who cannot see it.
        series: what is shown, as plain JSON values.
        draw: puts the series on axes: one, or an array of them where there are several panels.
        size: width and height in inches.
        panels: one above the other.
    """

    name: str
    title: str
    series: Mapping[str, Any]
    draw: Callable[[Any, Mapping[str, Any]], None]
    size: tuple[float, float] = (6.4, 3.8)
    panels: int = 1

    @property
    def description(self) -> str:
        """The numbers that are shown."""
        return json.dumps(self.series, sort_keys=True)

    def write(self, folder: Path) -> None:
        """Draw it into a file."""
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=self.size, layout="constrained")
            self.draw(figure.subplots(self.panels, sharex=True), self.series)
            metadata = {"Date": None, "Creator": None, "Title": self.title, "Description": self.description}
            figure.savefig(folder / self.name, format="svg", metadata=metadata)

    def is_current(self, folder: Path) -> bool:
        """Whether the file shows these numbers."""
        path = folder / self.name
        if not path.is_file():
            return False
        # The repository's own file.
        found = ET.parse(path).getroot().find(f".//{_DESCRIPTION}")
        return found is not None and found.text == self.description


def charts(results: Results, left_out: Results) -> list[Chart]:
    """The charts for which there are figures."""
    curves = _curves(results, left_out)
    if not curves:
        return []
    return [Chart("abstention.svg", "Accuracy on the rest against cells set aside", curves, _draw_curves)]


def _curves(results: Results, left_out: Results) -> dict[str, Any]:
    sources = {
        "PBC": results.get(f"cells-{results.default_classifier}"),
        "bccd": results.get(f"fields-{results.default_classifier}"),
        "bccd, left out": left_out.get(f"fields-{left_out.default_classifier}"),
        "bccd, left out, with a site profile": left_out.get(f"fields-{left_out.default_classifier}-profile"),
        "bccd, left out, its training side": left_out.get(f"fields-{left_out.default_classifier}-train"),
    }
    return {
        name: _curve(document)
        for name, document in sources.items()
        if document is not None and document.get("abstention")
    }


def _curve(document: Document) -> list[Sequence[float]]:
    return [[point["share"], point["accuracy"]] for point in document["abstention"]]


def _draw_curves(axes: Any, series: Mapping[str, Any]) -> None:
    for name, points in series.items():
        shares, accuracies = zip(*points, strict=True)
        axes.plot([100 * s for s in shares], [100 * a for a in accuracies], "o-", ms=3, label=name)
    axes.set(xlabel="cells set aside, %", ylabel="accuracy on the rest, %")
    axes.legend(frameon=False, fontsize=8)
