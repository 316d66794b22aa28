"""Reports as pictures: SVG files that come out the same from the same figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from hemaserve.cells import FACTS
from hemaserve.evaluation import extra
from hemaserve.evaluation.abstention import AbstentionPoint
from hemaserve.evaluation.cell_report import CellReport
from hemaserve.evaluation.fields import FieldsReport
from hemaserve.evaluation.metrics import Counts, ReliabilityBin
from hemaserve.evaluation.tables import percent_with_interval
from hemaserve.evaluation.type_scores import Confusion

STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",  # text stays text: small, and found by a search
    "svg.hashsalt": "hemaserve",  # ids are derived from the contents, not drawn by lot
    "font.size": 9,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
}
BLUE: Final = "#1f5fa8"
ORANGE: Final = "#c8641b"
_DARK: Final = 0.5
"""Cells with more than this share of their row are dark, and their numbers white."""


def draw_cells(report: CellReport, folder: Path) -> None:
    """Write `confusion.svg`, `leaves.svg` where leaves are reported, `reliability.svg` and `abstention.svg`.

    Raises:
        FailedPrecondition: the extra `evaluate` is not installed.
        OSError: a file cannot be written.
    """
    title = f"n = {report.n}, accuracy {percent_with_interval(report.accuracy, report.accuracy_ci95)}"
    draw_confusion(folder / "confusion.svg", title, report.confusion)
    if report.leaves is not None:
        leaves = report.leaves
        title = f"n = {leaves.n}, macro F1 {percent_with_interval(leaves.macro_f1, leaves.macro_f1_ci95)}"
        draw_confusion(folder / "leaves.svg", title, leaves.confusion)
    draw_reliability(folder / "reliability.svg", report.calibration.reliability, report.calibration.ece)
    draw_abstention(folder / "abstention.svg", report.abstention, report.abstention_by_probability)


def draw_fields(report: FieldsReport, folder: Path) -> None:
    """Write `reliability.svg` and `abstention.svg`, where there are cells of known type.

    Raises:
        FailedPrecondition: the extra `evaluate` is not installed.
        OSError: a file cannot be written.
    """
    if report.calibration is not None:
        draw_reliability(folder / "reliability.svg", report.calibration.reliability, report.calibration.ece)
        draw_abstention(folder / "abstention.svg", report.abstention, report.abstention_by_probability)


def draw_confusion(path: Path, title: str, confusion: Confusion) -> None:
    """What was taken for what, by cell types."""
    answers = list(next(iter(confusion.values())))
    counts = np.array([[row[answer] for answer in answers] for row in confusion.values()])
    draw_counts(
        path,
        title,
        counts,
        labels=[FACTS[truth].title for truth in confusion],
        answers=[FACTS[answer].title for answer in answers],
    )


def draw_counts(
    path: Path, title: str, counts: Counts, *, labels: Sequence[str], answers: Sequence[str]
) -> None:
    """A confusion matrix int64 [labels, answers]: counts as numbers, shares of each row as shades."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with extra.load("matplotlib").rc_context(STYLE | {"axes.grid": False}):
        figure = _figure(3.2 + 0.45 * len(answers), 2.4 + 0.45 * len(labels))
        axes = figure.subplots()
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="equal")
        for row, column in np.argwhere(counts):
            colour = "white" if shares[row, column] > _DARK else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
        axes.set_xticks(range(len(answers)), answers, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(labels)), labels)
        axes.set(xlabel="best guess", ylabel="label")
        figure.suptitle(title, fontsize=9)
        save(figure, path)


def draw_reliability(path: Path, bins: Sequence[ReliabilityBin], ece: float) -> None:
    """The share of right guesses against the probability that they were given, and how many guesses there were.

    Args:
        ece: the expected calibration error over the bins.
    """
    probability = [each.probability for each in bins]
    with extra.load("matplotlib").rc_context(STYLE):
        figure = _figure(4.2, 4.8)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        upper.plot([0, 1], [0, 1], color="grey", linestyle="--", linewidth=1, label="honest")
        upper.plot(probability, [each.accuracy for each in bins], "o-", color=BLUE, label="measured")
        upper.set(xlim=(0, 1.02), ylim=(0, 1.02), ylabel="right guesses")
        upper.set_title(
            f"n = {sum(each.n for each in bins)}, expected calibration error {100 * ece:.1f}%", fontsize=9
        )
        upper.legend(frameon=False)
        lower.bar(probability, [each.n for each in bins], width=0.04, color=BLUE)
        lower.set(yscale="log", ylabel="cells", xlabel="probability of the best guess")
        save(figure, path)


def draw_abstention(
    path: Path, curve: Sequence[AbstentionPoint], by_probability: Sequence[AbstentionPoint]
) -> None:
    """Accuracy on the rest against the share of cells set aside, with the 95% band of the first curve."""
    with extra.load("matplotlib").rc_context(STYLE):
        figure = _figure(5.2, 3.4)
        axes = figure.subplots()
        shares = [100 * point.share for point in curve]
        low, high = zip(*(point.accuracy_ci95 for point in curve), strict=True)
        axes.fill_between(shares, 100 * np.array(low), 100 * np.array(high), color=BLUE, alpha=0.12, lw=0)
        for points, name, colour in (
            (curve, "unidentified first", BLUE),
            (by_probability, "least probable first", ORANGE),
        ):
            axes.plot(
                shares, [100 * point.accuracy for point in points], "o-", ms=3, color=colour, label=name
            )
        axes.set(xlabel="cells set aside, %", ylabel="accuracy on the rest, %")
        axes.legend(frameon=False, loc="lower right")
        save(figure, path)


def _figure(width: float, height: float) -> Any:
    """An empty picture of this many inches, drawn without a screen."""
    return extra.load("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")


def save(figure: Any, path: Path) -> None:
    """Write a picture as SVG, without a date, so that the same figures give the same file."""
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
