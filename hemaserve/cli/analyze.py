"""`hemaserve analyze`."""

import asyncio
import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from hemaserve.cells import Kind
from hemaserve.cli import connection, options
from hemaserve.cli.analysis import Analysis, analyze_files, write_pictures
from hemaserve.cli.console import err, out
from hemaserve.cli.exits import ExitCode, errors_told
from hemaserve.cli.explaining import check_explainable, explain_cells, write_explanations
from hemaserve.cli.profiles import check_profile
from hemaserve.cli.report import print_smear
from hemaserve.cli.screen import print_screen
from hemaserve.cli.unidentified import print_unidentified
from hemaserve.client import DEFAULT_ADDRESS
from hemaserve.explanation_sheet import ShownCell
from hemaserve.paths import NoImages, image_files
from hemaserve.results import CropEncoding

TARGETS = (0, 100, 200, 400)


def analyze(  # noqa: PLR0917 - each is an option
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Image files, folders of them, or patterns.")
    ],
    address: options.Address = DEFAULT_ADDRESS,
    model: options.Model = None,
    detector_model: options.DetectorModel = None,
    site_profile: options.SiteProfile = None,
    target: Annotated[
        int,
        typer.Option(
            "--target", "-t", help="Stop after so many identified leukocytes: 100, 200 or 400; 0 counts all."
        ),
    ] = 0,
    kinds: options.Kinds = "wbc",
    screen: options.Screen = False,
    json_file: options.JsonFile = None,
    picture: options.PictureDir = None,
    explain: options.Explain = False,
    smear_id: Annotated[
        str | None, typer.Option("--smear-id", help="Your name for the smear. Default: random.")
    ] = None,
    specimen: Annotated[str, typer.Option(help="Accession number, returned with the result.")] = "",
) -> None:
    """Analyse photographs of one smear: the differential, and on request pictures and JSON.

    All images are the fields of one smear, counted in the order given; folders and patterns in natural order. A file
    that cannot be analysed is listed at the end and does not keep the others from being counted.

    Examples:

        hemaserve analyze field.png

        hemaserve analyze smear/ --target 200 --picture out/ --json result.json

        hemaserve analyze 'smear/field-*.jpg' --model vit --json - | jq .differential

        hemaserve analyze smear/ --screen

        hemaserve analyze field.png --explain --picture out/
    """
    options.check_address(address)
    chosen = options.parse_kinds(kinds)
    if target not in TARGETS:
        raise typer.BadParameter("must be 0, 100, 200 or 400", param_hint="--target")
    if explain and picture is None:
        raise typer.BadParameter("name a folder for the heat maps: --picture DIR", param_hint="--explain")
    try:
        files = image_files(paths)
    except NoImages as error:
        raise typer.BadParameter(str(error), param_hint="PATH") from None
    with errors_told(address):
        analysis = asyncio.run(
            _analyze(
                address,
                files,
                smear_id=smear_id,
                specimen=specimen,
                target=target,
                model=model,
                detector_model=detector_model,
                kinds=chosen,
                site_profile=site_profile,
                screen=screen,
                explain=explain,
            )
        )
    # With the JSON on standard output the table moves aside.
    console = err if json_file == Path("-") else out
    print_smear(console, analysis.result, analysis.failed)
    print_unidentified(console, analysis)
    print_screen(console, analysis)
    try:
        if explain and picture is not None:
            with errors_told(address), errors_of_writing():
                explained = asyncio.run(_explain(address, analysis, model, site_profile))
                analysis = write_explanations(analysis, explained, picture)
    finally:  # what was found is not lost with its explanation
        write_outputs(analysis, json_file=json_file, picture=picture)
    if analysis.failed:
        raise typer.Exit(ExitCode.INCOMPLETE)


def write_outputs(analysis: Analysis, *, json_file: Path | None, picture: Path | None) -> None:
    """Write the JSON and the pictures that were asked for.

    Raises:
        typer.Exit: they cannot be written.
    """
    with errors_of_writing():
        if json_file is not None:
            text = json.dumps(analysis.to_json(), indent=2, allow_nan=False)
            if json_file == Path("-"):
                typer.echo(text)
            else:
                json_file.parent.mkdir(parents=True, exist_ok=True)
                json_file.write_text(text + "\n", encoding="utf-8")
        if picture is not None:
            written = [*write_pictures(analysis, picture), *analysis.explanations.values()]
            err.print(
                f"{len(written)} picture{'' if len(written) == 1 else 's'} in {picture}", highlight=False
            )


@contextlib.contextmanager
def errors_of_writing() -> Iterator[None]:
    """Tell of a file that cannot be written, and exit.

    Raises:
        typer.Exit: the block could not write something.
    """
    try:
        yield
    except OSError as error:
        err.print(f"[bold red]error:[/] cannot write {error.filename}: {error.strerror}", highlight=False)
        raise typer.Exit(ExitCode.USAGE) from None


async def _analyze(
    address: str,
    files: Sequence[Path],
    *,
    smear_id: str | None,
    specimen: str,
    target: int,
    model: str | None,
    detector_model: str | None,
    kinds: Sequence[Kind],
    site_profile: str | None,
    screen: bool,
    explain: bool,
) -> Analysis:
    async with connection.client(address) as client:
        await check_profile(client, site_profile)
        if explain:
            await check_explainable(client, model)
        return await analyze_files(
            client,
            files,
            smear_id=smear_id,
            specimen=specimen,
            target=target,
            model=model,
            detector_model=detector_model,
            kinds=kinds,
            site_profile=site_profile,
            screen=screen,
            # As the classifier saw them, so that what is explained is what was named.
            crops=CropEncoding.PNG if explain else CropEncoding.NONE,
        )


async def _explain(
    address: str, analysis: Analysis, model: str | None, site_profile: str | None
) -> dict[str, list[ShownCell]]:
    async with connection.client(address) as client:
        return await explain_cells(client, analysis, model=model, site_profile=site_profile)
