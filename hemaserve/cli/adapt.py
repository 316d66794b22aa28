"""`hemaserve adapt`: learn a laboratory's colours from its unlabelled fields."""

import asyncio
import glob
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hemaserve.adaptation import Observed, evenly, observe_fields
from hemaserve.cli import connection, options
from hemaserve.cli.console import err, out
from hemaserve.cli.exits import ExitCode, errors_told
from hemaserve.cli.watching import watch
from hemaserve.client import DEFAULT_ADDRESS, HemaServeError
from hemaserve.contact_sheet import contact_sheet
from hemaserve.errors import FailedPrecondition
from hemaserve.evaluation.asking import FailedImage
from hemaserve.evaluation.outcome import below
from hemaserve.paths import NoImages, image_files, site_profiles_folder
from hemaserve.site_colours import (
    MIXED_SPREAD,
    Anchors,
    anchors_of,
    background_spread,
    estimate_correction,
    reference_anchors,
)
from hemaserve.site_profile import (
    NAME_RULE,
    SUFFIX,
    SiteProfile,
    Vector,
    correct,
    is_name,
    to_json,
)

_CROPS_SHOWN: Final = 10
_MOST_FAILED_SHOWN: Final = 10


def adapt(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", exists=True, file_okay=False, help="Fields of one laboratory; all images below it."
        ),
    ],
    name: Annotated[str, typer.Option("--name", help=f"What requests shall call it: {NAME_RULE}.")],
    address: options.Address = DEFAULT_ADDRESS,
    profiles: options.Profiles = None,
    limit: Annotated[
        int,
        typer.Option(
            "--limit", min=1, help="Look at so many fields at most, evenly spread over all of them."
        ),
    ] = 200,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a profile of this name.")] = False,
) -> None:
    """Learn a laboratory's colours from its unlabelled fields, and keep them as a site profile.

    Laboratories stain and photograph differently. The networks know some of that, but not yours. This looks at fields
    of one laboratory (one stain, one microscope and camera) that nobody needs to label: the running stack finds the
    cells, and the colours of the empty background, of red cells and of nuclei say what to correct. Some 50 fields are
    plenty; 20 white cells are the least.

    It writes NAME.json, the profile, and NAME.png, crops before and after: look at it. A running classifier notices
    the new file by itself. Nothing is sent anywhere but to your stack, and no network is changed.

    A profile corrects colours and nothing else, and whether it helps your images only labels can tell: compare
    `hemaserve evaluate` with it and without.

    Examples:

        hemaserve adapt my-fields/ --name my-lab

        hemaserve analyze smear/ --site-profile my-lab

        hemaserve evaluate fields my-labelled-fields/ --site-profile my-lab
    """
    options.check_address(address)
    path = _free_path(name, profiles or site_profiles_folder(), force=force)
    files = _files(folder)
    with errors_told(address):
        observed = asyncio.run(
            watch(partial(observe_fields, files=evenly(files, limit)), address, doing="Looking")
        )
        _tell_failed(observed.failed, folder)
        if observed.error is not None:
            raise observed.error
    if observed.partial:
        err.print("interrupted; no profile was written")
        raise typer.Exit(ExitCode.INTERRUPTED)
    try:
        site = anchors_of(observed.colours)
        correction = estimate_correction(site, reference_anchors())
    except FailedPrecondition as error:
        err.print(f"[bold red]error:[/] {escape(error.message)}", highlight=False)
        raise typer.Exit(ExitCode.USAGE) from None
    now = datetime.now(UTC).replace(microsecond=0)
    profile = SiteProfile(name, now, len(observed.fields), observed.white_cells, correction)
    picture = path.with_suffix(".png")
    _write(profile, observed, path, picture)
    out.print(_table(observed, site))
    if background_spread(observed.colours) > MIXED_SPREAD:
        out.print(
            "[bold yellow]Note:[/] the background differs much between these fields. Do they come from one laboratory, "
            "microscope and camera? A profile for each of them corrects better.",
            highlight=False,
        )
    out.print(f"\nProfile [bold]{path}[/]\nLook at [bold]{picture}[/]", highlight=False, soft_wrap=True)
    out.print(_next_steps(name, path.parent, address), highlight=False, soft_wrap=True)
    if observed.failed:
        raise typer.Exit(ExitCode.INCOMPLETE)


def _free_path(name: str, folder: Path, *, force: bool) -> Path:
    """Where the profile goes, found out before the work and not after it."""
    if not is_name(name):
        raise typer.BadParameter(f"{name!r} is no name for a profile: {NAME_RULE}", param_hint="--name")
    path = folder / f"{name}{SUFFIX}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise typer.BadParameter(f"cannot write there: {error.strerror}", param_hint="--profiles") from None
    if path.exists() and not force:
        raise typer.BadParameter(f"{path} exists; --force overwrites it", param_hint="--name")
    return path


def _files(folder: Path) -> list[Path]:
    try:
        return image_files([f"{glob.escape(str(folder))}/**"])
    except NoImages:
        raise typer.BadParameter(f"no image below the folder {folder}", param_hint="DIR") from None


def _write(profile: SiteProfile, observed: Observed, path: Path, picture: Path) -> None:
    crops = np.stack(observed.crops(_CROPS_SHOWN))
    sheet = contact_sheet([("before", list(crops)), ("after", list(correct(profile.correction, crops)))])
    partial_path = path.with_suffix(".partial")
    try:
        sheet.save(picture)
        # The classifier sees the whole file or none.
        partial_path.write_text(to_json(profile), encoding="utf-8")
        partial_path.replace(path)
    except OSError as error:
        err.print(f"[bold red]error:[/] cannot write in {path.parent}: {error.strerror}", highlight=False)
        raise typer.Exit(ExitCode.USAGE) from None


def _tell_failed(failed: Sequence[FailedImage], folder: Path) -> None:
    for item in failed[:_MOST_FAILED_SHOWN]:
        err.print(
            f"[yellow]Left out:[/] {escape(below(item.path, folder))}: {escape(item.reason)}", highlight=False
        )
    if len(failed) > _MOST_FAILED_SHOWN:
        err.print(f"... and {len(failed) - _MOST_FAILED_SHOWN} more files")


def _table(observed: Observed, site: Anchors) -> Table:
    """The three anchors, here and at the training laboratory."""
    reference = reference_anchors()
    table = Table(
        title=f"{len(observed.fields)} fields, {observed.white_cells} white cells, {observed.red_cells} red cells",
        title_justify="left",
        caption="The profile turns the colours of the second column into those of the third.",
        caption_justify="left",
    )
    for heading in ("", "This laboratory", "Training laboratory", "Shift in optical density (R, G, B)"):
        table.add_column(heading)
    for title, here, there in (
        ("Background", site.background, reference.background),
        ("Red cells", site.red_cell, reference.red_cell),
        ("Nuclei", site.nucleus, reference.nucleus),
    ):
        shift = ", ".join(f"{b - a:+.2f}" for a, b in zip(here, there, strict=True))
        table.add_row(title, _swatch(here), _swatch(there), shift)
    return table


def _swatch(density: Vector) -> Text:
    red, green, blue = (max(0, min(255, round(256 * np.exp(-value) - 1))) for value in density)
    text = Text("      ", style=f"on rgb({red},{green},{blue})")
    return Text.assemble(text, f" {red}, {green}, {blue}")


def _next_steps(name: str, folder: Path, address: str) -> str:
    lines = []
    if not asyncio.run(_is_served(name, address)):
        lines.append(
            f"The stack at {address} does not read this folder. On this machine: hemaserve up --profiles {folder}"
        )
    lines += [
        f"Use it:    hemaserve analyze FIELDS --site-profile {name}",
        f"Verify it: hemaserve evaluate fields LABELLED --site-profile {name}, and once without",
    ]
    return "\n".join(lines)


async def _is_served(name: str, address: str) -> bool:
    async with connection.client(address) as client:
        try:
            return name in {profile.name for profile in await client.list_site_profiles()}
        except HemaServeError:
            return False
