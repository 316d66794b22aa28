"""Learning curves as pictures: small SVG files that come out the same from the same numbers.

Confusion matrices and reliability diagrams are drawn by `hemaserve.evaluation.pictures`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from hemaserve.evaluation.pictures import STYLE, save


@dataclass(frozen=True, slots=True)
class Panel:
    """One of several charts that share their epochs.

    Attributes:
        title: what is shown, with its unit.
        series: names and values, one value an epoch.
        logarithmic: whether the values span decades.
    """

    title: str
    series: Mapping[str, Sequence[float]]
    logarithmic: bool = False


def draw_curves(path: Path, title: str, panels: Sequence[Panel], first_epoch: int = 1) -> None:
    """Learning curves: one chart above the other, over the epochs from the first that is known."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 1.0 + 1.6 * len(panels)), layout="constrained")
        figure.suptitle(title, fontsize=10)
        charts: Any = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
        for axes, panel in zip(charts, panels, strict=True):
            for name, values in panel.series.items():
                axes.plot(first_epoch + np.arange(len(values)), values, marker="o", markersize=3, label=name)
            axes.set_title(panel.title, loc="left", fontsize=9)
            if panel.logarithmic:
                axes.set_yscale("log")
            if len(panel.series) > 1:
                axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        charts[-1].set_xlabel("epoch")
        charts[-1].xaxis.get_major_locator().set_params(integer=True)
        save(figure, path)
