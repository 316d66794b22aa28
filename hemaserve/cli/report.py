"""The differential on the terminal."""

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from hemaserve.cells import FACTS, CellType, primary_of
from hemaserve.cli.analysis import FailedFile
from hemaserve.picture import NOTICE
from hemaserve.results import Differential, Provenance, ReviewReason, SmearEnd, SmearResult, TypeShare

_REASONS: Final = {
    ReviewReason.UNIDENTIFIED_ABOVE_LIMIT: "many cells are unidentified",
    ReviewReason.TOO_FEW_LEUKOCYTES: "fewer identified leukocytes than the target",
    ReviewReason.DEGRADED: "the ensemble answered without all its members",
    ReviewReason.FAILED_FIELDS: "some fields could not be analysed",
    ReviewReason.SCREEN_FLAGGED: "the leukemia screen flagged fields or cells: a reason to look, not a diagnosis",
    ReviewReason.OTHER: "a reason that this version does not know",
}
_MOST_FAILURES: Final = 20


def print_smear(console: Console, result: SmearResult, failed: Sequence[FailedFile]) -> None:
    """Print a smear's differential, why it should be reviewed, what failed and where it came from."""
    console.print(differential_table(result.differential))
    console.print(_count_line(result))
    for reason in result.differential.review_reasons:
        console.print(f"[bold yellow]Review:[/] {_REASONS[reason]}")
    for item in failed[:_MOST_FAILURES]:
        console.print(
            f"[bold red]Failed:[/] {item.file}: {item.failure.message}", highlight=False, soft_wrap=True
        )
    if len(failed) > _MOST_FAILURES:
        console.print(f"... and {len(failed) - _MOST_FAILURES} more failed; --json lists all of them")
    console.print(f"[dim]{_provenance_line(result.provenance)}[/]", highlight=False)
    console.print(f"[dim]{NOTICE}.[/]", highlight=False)


def differential_table(counts: Differential) -> Table:
    """The table: primary types with their finer ones below them, then what is not a share of the leukocytes."""
    table = Table(title="White-cell differential", title_justify="left")
    table.add_column("Type")
    table.add_column("Count", justify="right")
    table.add_column("%", justify="right")
    table.add_column("95% limits", justify="right")
    for share in counts.leukocytes:
        _add_share(table, share)
        for finer in counts.finer:
            if (
                finer.type is not None
                and finer.type is not share.type
                and primary_of(finer.type) is share.type
            ):
                _add_share(table, finer, indent="  ")
    table.add_section()
    table.add_row("Identified leukocytes", str(counts.identified_leukocytes), "", "")
    style = "bold yellow" if ReviewReason.UNIDENTIFIED_ABOVE_LIMIT in counts.review_reasons else None
    of_all = f"{100 * counts.unidentified_share:.1f} of all" if counts.unidentified else ""
    table.add_row("Unidentified", str(counts.unidentified), of_all, "", style=style)
    nrbc = counts.erythroblasts
    if nrbc is not None:
        per_100 = "" if nrbc.percent is None else f"{nrbc.percent:.1f} per 100"
        table.add_row(FACTS[CellType.ERYTHROBLAST].title, str(nrbc.count), per_100, "")
    return table


def _add_share(table: Table, share: TypeShare, indent: str = "") -> None:
    title = "Unknown type" if share.type is None else FACTS[share.type].title
    percent = "" if share.percent is None else f"{share.percent:.1f}"
    limits = ""
    if share.percent_low is not None and share.percent_high is not None:
        limits = f"{share.percent_low:.1f} - {share.percent_high:.1f}"
    table.add_row(
        indent + title, str(share.count), percent, limits, style="dim" if indent or not share.count else None
    )


def _count_line(result: SmearResult) -> str:
    fields = f"{result.fields_counted} field{'' if result.fields_counted == 1 else 's'} counted"
    match result.end:
        case SmearEnd.TARGET_REACHED:
            return f"{fields}; target of {result.target} leukocytes reached."
        case SmearEnd.TOO_FEW:
            return f"{fields}; target of {result.target} leukocytes not reached."
        case _:
            return f"{fields}."


def _provenance_line(provenance: Provenance) -> str:
    sources = [provenance.detector, provenance.classifier, *provenance.members, *provenance.screens]
    models = ", ".join(f"{s.name} {s.sha256[:12]}".strip() for s in sources if s is not None)
    profile = provenance.site_profile
    corrected = f"; site profile: {profile.name} {profile.sha256[:12]}" if profile is not None else ""
    return f"Models: {models or 'none'}{corrected}; HemaServe {provenance.software_version}"
