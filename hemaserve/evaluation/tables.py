"""Reports as tables for the terminal."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hemaserve.cells import FACTS, CellType, Kind
from hemaserve.evaluation.asking import FailedImage
from hemaserve.evaluation.cell_report import CellReport
from hemaserve.evaluation.detections import DetectionReport
from hemaserve.evaluation.fields import FieldsReport
from hemaserve.evaluation.metrics import Interval
from hemaserve.evaluation.outcome import below
from hemaserve.results import Provenance

_MOST_FAILED_SHOWN = 10


def percent(share: float | None) -> str:
    """A share as a percentage; a dash where there is none."""
    return "-" if share is None else f"{100 * share:.1f}%"


def percent_with_interval(share: float | None, interval: Interval) -> str:
    """A share with its 95% interval."""
    return "-" if share is None else f"{percent(share)} ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})"


def _summary(title: str, rows: Iterable[tuple[str, str]]) -> Table:
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for name, value in rows:
        table.add_row(name, value)
    return table


def cell_tables(report: CellReport) -> RenderableType:
    """Summary, scores of each type with 95% intervals, and the confusion matrix."""
    summary = _summary(
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
            ("macro F1", percent_with_interval(report.macro_f1, report.macro_f1_ci95)),
            ("unidentified", f"{report.unidentified} ({percent(report.unidentified / report.n)})"),
            ("expected calibration error", f"{report.ece:.3f}"),
            ("no detection at the centre", str(report.fallbacks)),
            *([("answered without all members", str(report.degraded))] if report.degraded else []),
            ("seconds", f"{report.seconds:.1f}"),
        ],
    )
    return Group(summary, _per_type(report), _confusion(report.confusion))


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
    table = Table(title="Rows: the folder's type. Columns: the best guess", title_justify="left")
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
    summary = _summary(
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
    """Summary."""
    return _summary(
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
            (
                "accuracy of the identified",
                percent_with_interval(report.accuracy_identified, report.accuracy_identified_ci95),
            ),
            ("seconds", f"{report.seconds:.1f}"),
        ],
    )


def failed_lines(failed: Sequence[FailedImage], root: Path) -> Text:
    """The images that could not be read, the first ones by name."""
    lines = [f"{len(failed)} image{'' if len(failed) == 1 else 's'} could not be evaluated:"]
    lines += [f"  {below(item.path, root)}: {item.reason}" for item in failed[:_MOST_FAILED_SHOWN]]
    if len(failed) > _MOST_FAILED_SHOWN:
        lines.append(f"  and {len(failed) - _MOST_FAILED_SHOWN} more (all of them with --json)")
    return Text("\n".join(lines), style="yellow")


def provenance_line(provenance: Provenance) -> Text:
    """Which networks answered, with the beginnings of their digests."""
    sources = [provenance.detector, provenance.classifier, *provenance.members]
    names = [f"{source.name} {source.sha256[:12]}".strip() for source in sources if source is not None]
    return Text("networks: " + ", ".join(names), style="dim")
