"""The chart of docs/networks.md: accuracy against speed, with every network's name where it can be read."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from accuracy_charts import Chart
from accuracy_labels import Rectangle, place_labels
from accuracy_networks import ENSEMBLE, NETWORK, PRESET, Compared
from matplotlib.ticker import LogLocator

CHART = "networks.svg"
COLOURS = {NETWORK: "#1f5fa8", ENSEMBLE: "#2f7d4f", PRESET: "#c8641b"}
LEGEND = {NETWORK: "networks", ENSEMBLE: "ensembles", PRESET: "presets: the recipes of papers"}
PANELS = {"pbc": "accuracy on PBC, 8 types, %", "left_out": "accuracy on bccd, never seen, %"}
LABEL_SIZE = 7.5
LETTER = 0.62
"""Mean width of a letter, as a share of the font's size."""

_NEAR = 8.0
"""A label no farther than this from its point, in points of 1/72 inch, needs no line to it."""

_LEAST_ERROR = 0.02
_TICKS = (50, 60, 70, 80, 85, 90, 92, 94, 95, 96, 97, 98, 98.5, 99, 99.5, 99.8)


def network_chart(compared: Sequence[Compared]) -> Chart | None:
    """Accuracy against speed, for all of which both are known; None when there are none."""
    series = {
        panel: {
            each.name: {
                "group": each.group,
                "crops_per_second": each.crops_per_second,
                "accuracy": accuracy.share,
                "interval": accuracy.interval,
            }
            for each in compared
            if (accuracy := getattr(each, panel)) is not None and each.crops_per_second is not None
        }
        for panel in PANELS
    }
    if not any(series.values()):
        return None
    title = "Accuracy on PBC and on bccd that was never seen, against crops per second"
    return Chart(CHART, title, series, _draw, size=(9.6, 11.5), panels=len(PANELS))


def _draw(axes: Any, series: Mapping[str, Mapping[str, Any]]) -> None:
    for panel, (key, label) in zip(axes, PANELS.items(), strict=True):
        points = series[key]
        for point in points.values():
            accuracy = 100 * point["accuracy"]
            low, high = (100 * limit for limit in point["interval"])
            colour, x = COLOURS[point["group"]], point["crops_per_second"]
            panel.plot(
                [x, x], [low, min(high, 100 - _LEAST_ERROR)], color=colour, alpha=0.22, lw=1.2, zorder=1
            )
            panel.plot([x], [accuracy], "o", ms=5, color=colour, zorder=3)
        panel.set(xscale="log", ylabel=label)
        panel.margins(x=0.12, y=0.08)
    # Accuracies near 100% lie apart where the share of wrong answers is on a log scale.
    axes[0].set_yscale("function", functions=(_spread, _gathered))
    axes[0].set_ylabel(f"{PANELS['pbc']} (log scale of the wrong ones)")
    low, high = axes[0].get_ylim()
    axes[0].set_yticks([tick for tick in _TICKS if low <= tick <= high])
    axes[0].set_yticklabels([f"{tick:g}" for tick in _TICKS if low <= tick <= high])
    axes[-1].set_xlabel("crops per second, log scale")
    for panel in axes:
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter("{x:g}")
    shown = {point["group"] for points in series.values() for point in points.values()}
    for group in (group for group in COLOURS if group in shown):
        axes[0].plot([], [], "o", ms=5, color=COLOURS[group], label=LEGEND[group])
    axes[0].figure.legend(loc="outside upper center", ncols=len(shown), frameon=False)
    axes[0].figure.draw_without_rendering()
    for panel, key in zip(axes, PANELS, strict=True):
        _name_points(panel, series[key])


def _spread(accuracy: Any) -> Any:
    return -np.log10(np.maximum(100 - np.asarray(accuracy, float), _LEAST_ERROR))


def _gathered(spread: Any) -> Any:
    return 100 - 10.0**-spread


def _name_points(panel: Any, points: Mapping[str, Any]) -> None:
    """Write each point's name beside it, where it can be read, with a line to the point."""
    scale = 72 / panel.figure.dpi
    edges = panel.get_window_extent()
    area = Rectangle(*(scale * edge for edge in (edges.x0, edges.y0, edges.x1, edges.y1)))
    places = [(point["crops_per_second"], 100 * point["accuracy"]) for point in points.values()]
    spots = [(scale * x, scale * y) for x, y in panel.transData.transform(places)] if places else []
    sizes = [(LETTER * LABEL_SIZE * len(name) + 2, LABEL_SIZE + 2) for name in points]
    labels = place_labels(spots, sizes, area)
    for (name, point), place, spot, label in zip(points.items(), places, spots, labels, strict=True):
        colour = COLOURS[point["group"]]
        end = label.nearest(spot)
        if math.dist(spot, end) > _NEAR:
            line = {"arrowstyle": "-", "lw": 0.5, "color": colour, "alpha": 0.6, "shrinkA": 0, "shrinkB": 2}
            _beside(panel, "", place, spot, end, arrowprops=line)
        text = _beside(panel, name, place, spot, label.centre, ha="center", va="center", color=colour)
        text.set_fontsize(LABEL_SIZE)


def _beside(panel: Any, text: str, place: Any, spot: Any, end: Any, **style: Any) -> Any:
    """Write a text with a distance from the place of a point, in points of 1/72 inch."""
    offset = (end[0] - spot[0], end[1] - spot[1])
    written = panel.annotate(text, place, xytext=offset, textcoords="offset points", **style)
    written.set_in_layout(False)
    return written
