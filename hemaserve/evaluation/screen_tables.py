"""The report of an evaluation of the leukemia screen as tables for the terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hemaserve.evaluation.screen_report import ScreenedCellsReport, ScreenReport
from hemaserve.evaluation.tables import percent_with_interval, summary_table


def screen_tables(report: ScreenReport) -> RenderableType:
    """Fields, their classes, what was taken for what, and how cells fared."""
    low, high = report.auroc_ci95
    area = "-" if report.auroc is None else f"{report.auroc:.4f} ({low:.4f} to {high:.4f})"
    fields = summary_table(
        "Leukemia screen of fields",
        [
            ("fields, malignant and benign", f"{report.n}, {report.malignant} and {report.benign}"),
            (
                "sensitivity (malignant fields flagged)",
                percent_with_interval(report.sensitivity, report.sensitivity_ci95),
            ),
            (
                "specificity (benign fields not flagged)",
                percent_with_interval(report.specificity, report.specificity_ci95),
            ),
            ("area under the ROC curve", area),
            ("accuracy (most probable class)", percent_with_interval(report.accuracy, report.accuracy_ci95)),
            ("seconds", f"{report.seconds:.1f}"),
        ],
    )
    notice = Text("A flag is a reason to look, never a diagnosis.", style="dim")
    return Group(fields, _per_class(report), _confusion(report), _cells(report.cells), notice)


def _per_class(report: ScreenReport) -> Table:
    table = Table(title="Each class, with 95% intervals", title_justify="left")
    table.add_column("class")
    for name in ("fields", "precision", "recall", "F1"):
        table.add_column(name, justify="right")
    for name, scores in report.per_class.items():
        table.add_row(
            name,
            str(scores.support),
            percent_with_interval(scores.precision, scores.precision_ci95),
            percent_with_interval(scores.recall, scores.recall_ci95),
            percent_with_interval(scores.f1, scores.f1_ci95),
        )
    return table


def _confusion(report: ScreenReport) -> Table:
    table = Table(title="Rows: the folder. Columns: the most probable class", title_justify="left")
    table.add_column("")
    for name in next(iter(report.confusion.values()), {}):
        table.add_column(name, justify="right")
    for truth, row in report.confusion.items():
        table.add_row(truth, *(str(count) if count else "·" for count in row.values()))
    return table


def _cells(report: ScreenedCellsReport) -> Table:
    return summary_table(
        "White cells, labelled by their field",
        [
            ("found in malignant fields", str(report.n)),
            ("  flagged", percent_with_interval(report.flagged, report.flagged_ci95)),
            (
                "  normal type, identified, cell not flagged",
                percent_with_interval(report.unflagged_normal_cell, report.unflagged_normal_cell_ci95),
            ),
            (
                "  normal type, identified, neither cell nor field flagged",
                percent_with_interval(report.unflagged_normal, report.unflagged_normal_ci95),
            ),
            ("found in benign fields", str(report.benign_n)),
            ("  flagged", percent_with_interval(report.benign_flagged, report.benign_flagged_ci95)),
        ],
    )
