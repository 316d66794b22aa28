"""Reports as tables for the terminal."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hemaserve.cells import FACTS, CellType, Kind
from hemaserve.evaluation.abstention import AbstentionPoint
from hemaserve.evaluation.asking import FailedImage
from hemaserve.evaluation.calibration import Calibration
from hemaserve.evaluation.cell_report import CellReport
from hemaserve.evaluation.detections import DetectionReport
from hemaserve.evaluation.fields import FieldsReport
from hemaserve.evaluation.leaf_report import LeafReport
from hemaserve.evaluation.metrics import Interval
from hemaserve.evaluation.outcome import below
from hemaserve.results import Provenance, UnidentifiedReason

_MOST_FAILED_SHOWN = 10


def percent(share: float | None) -> str:
    """A share as a percentage; a dash where there is none."""
    return "-" if share is None else f"{100 * share:.1f}%"


def percent_with_interval(share: float | None, interval: Interval) -> str:
    """A share with its 95% interval."""
    return "-" if share is None else f"{percent(share)} ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


def summary_table(title: str, rows: Iterable[tuple[str, str]]) -> Table:
    """A table of names and values."""
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in rows:
        table.add_row(name, value)
    return table


def cell_tables(report: CellReport) -> RenderableType:
    """Summary, scores of each type with 95% intervals, the confusion matrix, leaves, and what abstaining buys."""
    summary = summary_table(
        "Cells",
        [
            ("images", str(report.n)),
            (
                "accuracy (best guess of every image)",
                percent_with_interval(report.accuracy, report.accuracy_ci95),
            ),
            (
                "accuracy of the identified",
                percent_with_interval(report.accuracy_identified, report.accuracy_identified_ci95),
            ),
            *(
                (f"  {FACTS[cell_type].title}: the network cannot answer it", f"{count} wrong")
                for cell_type, count in report.unanswerable.items()
            ),
            ("macro F1", percent_with_interval(report.macro_f1, report.macro_f1_ci95)),
            ("unidentified", f"{report.unidentified} ({percent(report.unidentified / report.n)})"),
            *_reasons(report.unidentified_reasons),
            *_calibration(report.calibration),
            ("no detection at the centre", str(report.fallbacks)),
            *([("answered without all members", str(report.degraded))] if report.degraded else []),
            ("seconds", f"{report.seconds:.1f}"),
        ],
    )
    tables: list[RenderableType] = [summary, _per_type(report), _confusion(report.confusion)]
    if report.leaves is not None:
        tables += [_leaves(report.leaves), _confusion(report.leaves.confusion)]
    tables.append(_abstention(report.abstention, report.abstention_by_probability))
    return Group(*tables)


def _reasons(reasons: Mapping[UnidentifiedReason, int]) -> list[tuple[str, str]]:
    return [(f"  {reason.value.replace('_', ' ')}", str(count)) for reason, count in reasons.items()]


def _calibration(figures: Calibration | None) -> list[tuple[str, str]]:
    if figures is None:
        return []
    return [
        ("expected calibration error", f"{figures.ece:.3f}"),
        (
            "negative log-likelihood, to the baseline's",
            _ratio(figures.nll, figures.nll_ratio, figures.nll_ratio_ci95),
        ),
        (
            "Brier score, to the baseline's",
            _ratio(figures.brier, figures.brier_ratio, figures.brier_ratio_ci95),
        ),
    ]


def _ratio(value: float, ratio: float | None, interval: Interval | None) -> str:
    if ratio is None or interval is None:
        return f"{value:.4f}, -"
    return f"{value:.4f}, {ratio:.2f} ({interval[0]:.2f} to {interval[1]:.2f})"


def _leaves(report: LeafReport) -> Table:
    return summary_table(
        "Leaves",
        [
            ("images whose leaf is known", str(report.n)),
            ("accuracy", percent_with_interval(report.accuracy, report.accuracy_ci95)),
            ("macro F1", percent_with_interval(report.macro_f1, report.macro_f1_ci95)),
            (
                f"band from segmented (of {report.band_segmented})",
                percent_with_interval(report.band_segmented_accuracy, report.band_segmented_accuracy_ci95),
            ),
        ],
    )


def _abstention(curve: Sequence[AbstentionPoint], by_probability: Sequence[AbstentionPoint]) -> Table:
    table = Table(title="Accuracy on the rest when cells are set aside", title_justify="left")
    for name in ("set aside", "unidentified first", "least probable first"):
        table.add_column(name, justify="right")
    for point, other in zip(curve, by_probability, strict=True):
        table.add_row(
            percent(point.share),
            percent_with_interval(point.accuracy, point.accuracy_ci95),
            percent_with_interval(other.accuracy, other.accuracy_ci95),
        )
    return table


def _per_type(report: CellReport) -> Table:
    table = Table(title="Each type, with 95% intervals", title_justify="left")
    table.add_column("type")
    for name in ("images", "precision", "recall", "F1", "specificity"):
        table.add_column(name, justify="right")
    for cell_type, scores in report.per_type.items():
        table.add_row(
            FACTS[cell_type].title,
            str(scores.support),
            percent_with_interval(scores.precision, scores.precision_ci95),
            percent_with_interval(scores.recall, scores.recall_ci95),
            percent_with_interval(scores.f1, scores.f1_ci95),
            percent(scores.specificity),
        )
    return table


def _confusion(confusion: Mapping[CellType, Mapping[CellType, int]]) -> Table:
    table = Table(title="Rows: the label. Columns: the best guess", title_justify="left")
    table.add_column("")
    columns = list(next(iter(confusion.values()), {}))
    for cell_type in columns:
        table.add_column(_short(cell_type), justify="right")
    for truth, row in confusion.items():
        table.add_row(
            FACTS[truth].title,
            *(
                Text(str(row[answer]) if row[answer] else "·", style="bold" if answer is truth else "")
                for answer in columns
            ),
        )
    return table


def _short(cell_type: CellType) -> str:
    return "".join(word[:4] for word in cell_type.value.split("_"))


def detection_tables(report: DetectionReport) -> RenderableType:
    """Summary, and average precision, recall and precision of each kind."""
    summary = summary_table(
        "Detections",
        [
            ("fields", str(report.n)),
            ("mAP50", "-" if report.map50 is None else f"{report.map50:.4f}"),
            ("mAP50-95", "-" if report.map50_95 is None else f"{report.map50_95:.4f}"),
            ("seconds", f"{report.seconds:.1f}"),
        ],
    )
    table = Table(title="Each kind, with 95% intervals", title_justify="left")
    table.add_column("kind")
    for name in ("boxes", "AP50", "score from", "recall", "precision"):
        table.add_column(name, justify="right")
    for kind in report.ap50:
        table.add_row(
            kind_title(kind),
            str(report.boxes[kind]),
            f"{report.ap50[kind]:.4f}",
            f"{report.score_thresholds[kind]:.2f}",
            percent_with_interval(report.recall[kind], report.recall_ci95[kind]),
            percent_with_interval(report.precision[kind], report.precision_ci95[kind]),
        )
    return Group(summary, table)


def kind_title(kind: Kind) -> str:
    """The name of a kind that people read."""
    return "Platelet" if kind is Kind.PLATELET else kind.value.upper()


def fields_tables(report: FieldsReport) -> RenderableType:
    """Summary, and what abstaining buys."""
    summary = summary_table(
        "Fields",
        [
            ("fields", str(report.n)),
            ("white cells labelled, found", f"{report.wbc_labelled}, {report.wbc_found}"),
            ("white cells' recall", percent_with_interval(report.wbc_recall, report.wbc_recall_ci95)),
            (
                "white cells' precision",
                percent_with_interval(report.wbc_precision, report.wbc_precision_ci95),
            ),
            (
                f"type accuracy (of {report.typed})",
                percent_with_interval(report.type_accuracy, report.type_accuracy_ci95),
            ),
            ("unidentified among these", str(report.unidentified)),
            *_reasons(report.unidentified_reasons),
            (
                "accuracy of the identified",
                percent_with_interval(report.accuracy_identified, report.accuracy_identified_ci95),
            ),
            *_calibration(report.calibration),
            ("seconds", f"{report.seconds:.1f}"),
        ],
    )
    if not report.abstention:
        return summary
    return Group(summary, _abstention(report.abstention, report.abstention_by_probability))


def failed_lines(failed: Sequence[FailedImage], root: Path) -> Text:
    """The images that could not be read, the first ones by name."""
    lines = [f"{len(failed)} image{'' if len(failed) == 1 else 's'} could not be evaluated:"]
    lines += [f"  {below(item.path, root)}: {item.reason}" for item in failed[:_MOST_FAILED_SHOWN]]
    if len(failed) > _MOST_FAILED_SHOWN:
        lines.append(f"  and {len(failed) - _MOST_FAILED_SHOWN} more (all of them with --json)")
    return Text("\n".join(lines), style="yellow")


def provenance_line(provenance: Provenance) -> Text:
    """Which networks answered and which site profile corrected, with the beginnings of their digests."""
    sources = [provenance.detector, provenance.classifier, *provenance.members, *provenance.screens]
    names = [f"{source.name} {source.sha256[:12]}".strip() for source in sources if source is not None]
    profile = provenance.site_profile
    corrected = f"; site profile: {profile.name} {profile.sha256[:12]}" if profile is not None else ""
    return Text("networks: " + ", ".join(names) + corrected, style="dim")
