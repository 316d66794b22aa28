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
        draw: puts the series on axes.
    """

    name: str
    title: str
    series: Mapping[str, Any]
    draw: Callable[[Any, Mapping[str, Any]], None]

    @property
    def description(self) -> str:
        """The numbers that are shown."""
        return json.dumps(self.series, sort_keys=True)

    def write(self, folder: Path) -> None:
        """Draw it into a file."""
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=(6.4, 3.8), layout="constrained")
            self.draw(figure.subplots(), self.series)
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
    speed, curves = _speed(results), _curves(results, left_out)
    found = []
    if speed:
        found.append(Chart("speed.svg", "Accuracy on PBC against crops per second", speed, _draw_speed))
    if curves:
        found.append(
            Chart("abstention.svg", "Accuracy on the rest against cells set aside", curves, _draw_curves)
        )
    return found


def _speed(results: Results) -> dict[str, Any]:
    networks = results.speed.get("networks", {})
    documents = {name: results.get(f"cells-{name}") for name in results.classifiers}
    return {
        name: {
            "crops_per_second": networks[name]["crops_per_second"],
            "accuracy": document["accuracy"],
            "accuracy_ci95": document["accuracy_ci95"],
        }
        for name, document in documents.items()
        if document is not None and name in networks
    }


def _draw_speed(axes: Any, series: Mapping[str, Any]) -> None:
    for name, point in series.items():
        low, high = point["accuracy_ci95"]
        accuracy = 100 * point["accuracy"]
        error = [[accuracy - 100 * low], [100 * high - accuracy]]
        x = point["crops_per_second"]
        axes.errorbar([x], [accuracy], yerr=error, fmt="o", capsize=3)
        axes.annotate(name, (x, accuracy), xytext=(6, 4), textcoords="offset points")
    axes.set(xlabel="crops per second", ylabel="accuracy on PBC, 8 types, %")
    # Room for the name of the fastest.
    axes.set_xlim(0, 1.2 * max(point["crops_per_second"] for point in series.values()))


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
