"""What the leukemia screen flagged, on the terminal."""

from typing import Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hemaserve.cells import FACTS, Kind
from hemaserve.cli.analysis import Analysis
from hemaserve.results import Cell, FieldResult

_MOST_FIELDS: Final = 20
_MOST_CELLS: Final = 5
WORDS: Final = (
    "A flag is a reason for a person to look, never a diagnosis; no flag is no finding of health. "
    "Flags do not depend on the type that a cell was given."
)


def print_screen(console: Console, analysis: Analysis) -> None:
    """Print what the screen of an analysis flagged; that of the counted fields, and then each field with a flag."""
    screen = analysis.result.screen
    if screen is None:
        return
    console.print("\n[bold]Leukemia screen[/]")
    console.print(
        f"{_of(screen.fields_flagged, screen.fields_screened, 'field')} and "
        f"{_of(screen.cells_flagged, screen.cells_screened, 'white cell')} flagged, over the counted fields."
    )
    flagged = [(file, field) for file, field in analysis.analysed if _has_flag(field)]
    if flagged:
        table = Table()
        table.add_column("To look at")
        table.add_column("Field", justify="right")
        table.add_column("Flagged cells: id, type, probability")
        for file, field in flagged[:_MOST_FIELDS]:
            table.add_row(escape(file.name), _field(field), _cells(field))
        console.print(table)
    if len(flagged) > _MOST_FIELDS:
        console.print(
            f"... and {len(flagged) - _MOST_FIELDS} more fields with flags; --json lists all of them"
        )
    console.print(f"[dim]{WORDS}[/]", highlight=False)


def _of(part: int, whole: int, thing: str) -> str:
    return f"{part} of {whole} {thing}{'' if whole == 1 else 's'}"


def _has_flag(field: FieldResult) -> bool:
    return (field.screen is not None and field.screen.flagged) or any(cell.flagged for cell in field.cells)


def _field(field: FieldResult) -> str:
    if field.screen is None:
        return ""
    likeliest = max(field.screen.classes.items(), key=lambda item: item[1], default=("", 0.0))
    said = f"{field.screen.probability:.0%}"
    return (
        f"[bold yellow]flagged {said}[/] ({likeliest[0]})" if field.screen.flagged else f"not flagged, {said}"
    )


def _cells(field: FieldResult) -> str:
    flagged = sorted((cell for cell in field.cells if cell.flagged), key=_probability, reverse=True)
    shown = ", ".join(_cell(cell) for cell in flagged[:_MOST_CELLS])
    more = f", and {len(flagged) - _MOST_CELLS} more" if len(flagged) > _MOST_CELLS else ""
    white = sum(cell.kind is Kind.WBC for cell in field.cells)
    return f"{len(flagged)} of {white}: {shown}{more}" if flagged else f"0 of {white}"


def _probability(cell: Cell) -> float:
    return 0.0 if cell.screen is None else cell.screen.probability


def _cell(cell: Cell) -> str:
    said = cell.classification
    name = (
        "unidentified" if said is None or said.type is None or not said.identified else FACTS[said.type].title
    )
    return f"{cell.cell_id} {name.lower()} {_probability(cell):.0%}"
