"""The main panels as pictures for the docs, drawn from what was recorded; readable on light and on dark pages."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree as ET

import matplotlib as mpl
from matplotlib.figure import Figure

from hemaserve.evaluation.pictures import STYLE
from observability.dashboards import MODELS, OVERVIEW, SERVICES, TRITON
from observability.panels import Dashboard, Panel

Curves = Mapping[str, Sequence[Sequence[float]]]
"""By name: seconds since the beginning, and values."""

_CHOSEN: Final[Mapping[Dashboard, tuple[str, ...]]] = {
    OVERVIEW: (
        "AnalyzeField, 95th and 99th percentile",
        "Burn rate over an hour",
        "Calls",
        "Smears: from the last field to the result",
    ),
    SERVICES: ("Time by stage", "Capacity held", "Queue time, 95th percentile", "Processors"),
    TRITON: ("In the network", "In Triton's queue", "Rows", "Batch size"),
    MODELS: ("Identified cells", "Unidentified", "Confidence", "Stain"),
}

DRAWN: Final[tuple[Panel, ...]] = tuple(
    panel for dashboard, titles in _CHOSEN.items() for panel in dashboard.panels if panel.title in titles
)

_GREY: Final = "#808488"
_SLOW: Final = "#c8641b"
_COLOURS: Final = ("#4c8fd6", "#d9822b", "#3fa66b", "#c2558f", "#8d78d6", "#a89135")
"""Of one middling lightness, so that none is lost on white or on black."""

_MOST_CURVES: Final = len(_COLOURS)
_UNITS: Final = {
    "s": "s",
    "percentunit": "share",
    "reqps": "a second",
    "ops": "a second",
    "short": "",
    "bytes": "B",
}
_STYLE: Final = {
    **STYLE,
    "text.color": _GREY,
    "axes.labelcolor": _GREY,
    "axes.edgecolor": _GREY,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
    "grid.color": _GREY,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.transparent": True,
    "axes.titlesize": 9,
    "legend.fontsize": 7,
}
_DESCRIPTION: Final = "{http://purl.org/dc/elements/1.1/}description"


def names() -> dict[str, str]:
    """The pictures' files, and what each shows, for those who cannot see it."""
    return {f"{dashboard.name}.svg": ", ".join(titles) for dashboard, titles in _CHOSEN.items()}


def draw(folder: Path, recorded: Mapping[str, Any]) -> None:
    """Write all pictures."""
    for dashboard, titles in _CHOSEN.items():
        shown = _shown(titles, recorded)
        with mpl.rc_context(_STYLE):
            figure = Figure(figsize=(9.6, 5.6), layout="constrained")
            for axes, panel in zip(figure.subplots(2, 2).flat, _panels(dashboard, titles), strict=True):
                _draw(axes, panel, shown[panel.title], recorded["slow"])
            metadata = {
                "Date": None,
                "Creator": None,
                "Title": dashboard.title,
                "Description": _description(titles, recorded),
            }
            figure.savefig(folder / f"{dashboard.name}.svg", format="svg", metadata=metadata)


def stale(folder: Path, recorded: Mapping[str, Any]) -> list[str]:
    """Names of pictures that are missing or do not show what was recorded."""
    return [
        f"{dashboard.name}.svg"
        for dashboard, titles in _CHOSEN.items()
        if _told(folder / f"{dashboard.name}.svg") != _description(titles, recorded)
    ]


def _panels(dashboard: Dashboard, titles: Sequence[str]) -> list[Panel]:
    by_title = {panel.title: panel for panel in dashboard.panels}
    return [by_title[title] for title in titles]


def _shown(titles: Sequence[str], recorded: Mapping[str, Any]) -> dict[str, Curves]:
    return {title: _most(recorded["curves"][title]) for title in titles}


def _most(curves: Curves) -> Curves:
    """The curves that rise highest, in the order of their names: more than these nobody tells apart."""
    highest = sorted(
        (name for name in curves if curves[name]), key=lambda name: -max(v for _, v in curves[name])
    )
    return {name: curves[name] for name in sorted(highest[:_MOST_CURVES])}


def _description(titles: Sequence[str], recorded: Mapping[str, Any]) -> str:
    """The numbers that are shown."""
    return json.dumps({"curves": _shown(titles, recorded), "slow": recorded["slow"]}, sort_keys=True)


def _told(path: Path) -> str | None:
    if not path.is_file():
        return None
    # The repository's own file.
    found = ET.parse(path).getroot().find(f".//{_DESCRIPTION}")
    return None if found is None else found.text


def _draw(axes: Any, panel: Panel, curves: Curves, slow: Mapping[str, Any]) -> None:
    axes.axvspan(slow["from_s"], slow["to_s"], color=_SLOW, alpha=0.15, lw=0)
    for colour, (name, points) in zip(_COLOURS, curves.items(), strict=False):
        at, values = zip(*points, strict=True)
        axes.plot(at, values, color=colour, lw=1.3, label=name.rpartition("/")[2] or name)
    axes.set_title(panel.title, loc="left")
    highest = max((value for points in curves.values() for _, value in points), default=0)
    axes.set_ylim(0, 1.45 * highest or 1)  # room for the legend
    axes.set_ylabel(_UNITS.get(panel.unit, ""))
    axes.set_xlabel("seconds")
    axes.legend(frameon=False, ncols=2, loc="upper left")
