"""The cells that the classifier would not name, and why, on the terminal."""

from collections.abc import Iterator
from typing import Final

from rich.console import Console
from rich.table import Table

from hemaserve.cells import FACTS, Kind
from hemaserve.cli.analysis import Analysis
from hemaserve.results import Cell, Classification

_MOST: Final = 20


def print_unidentified(console: Console, analysis: Analysis) -> None:
    """Print the unidentified white cells of a smear, the first of them where there are many; nothing for none."""
    rows = list(_rows(analysis))
    if not rows:
        return
    table = Table(title="Unidentified cells", title_justify="left")
    table.add_column("File", overflow="fold")
    table.add_column("Cell")
    table.add_column("Best guess")
    table.add_column("Probability", justify="right")
    table.add_column("Disagreement", justify="right")
    table.add_column("OOD score", justify="right")
    table.add_column("Why")
    for row in rows[:_MOST]:
        table.add_row(*row)
    console.print(table)
    if len(rows) > _MOST:
        console.print(f"... and {len(rows) - _MOST} more; --json lists all of them")


def _rows(analysis: Analysis) -> Iterator[tuple[str, ...]]:
    for file, field in analysis.analysed:
        for cell in field.cells:
            said = cell.classification
            if said is not None and _is_counted_apart(cell):
                yield (file.name, cell.cell_id, *_columns(said))


def _is_counted_apart(cell: Cell) -> bool:
    return cell.kind is Kind.WBC and not cell.identified and not cell.counted_elsewhere


def _columns(said: Classification) -> tuple[str, ...]:
    return (
        "unknown type" if said.type is None else FACTS[said.type].title,
        f"{said.probability:.2f}",
        _number(said.disagreement),
        _number(said.ood_score),
        ", ".join(reason.value.replace("_", " ") for reason in said.unidentified_reasons),
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
