"""`hemaserve demo`."""

import asyncio
import contextlib
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Final, NoReturn

import typer

from hemaserve.cli import options
from hemaserve.cli.analysis import Analysis, analyze_files, write_pictures
from hemaserve.cli.console import err, out
from hemaserve.cli.exits import ExitCode, errors_told
from hemaserve.cli.report import print_smear
from hemaserve.cli.sample import Comparison, compare, write_sample
from hemaserve.cli.stack import StackFailed, running_stack
from hemaserve.client import DEFAULT_ADDRESS, Client, UnavailableError
from hemaserve.paths import NoImages, image_files

MOST_FIELDS: Final = 24
"""Of a folder of real fields, so that the demo stays a matter of seconds."""


def demo(
    fields: Annotated[
        Path | None,
        typer.Option(
            "--fields",
            envvar="HEMASERVE_DEMO_FIELDS",
            metavar="DIR",
            help="A folder of real fields to analyse. Default: a synthetic sample.",
        ),
    ] = None,
    out_dir: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", file_okay=False, help="Where the pictures and the JSON go."),
    ] = Path("out/demo"),
    address: options.Address = DEFAULT_ADDRESS,
    profile: options.Profile = None,
) -> None:
    """Show the whole path on a sample; starts a stack if none runs, and stops it again.

    Prints the differential and where the annotated pictures are. Without a folder of real fields the sample is drawn
    by a generator that knows what it drew, and the answer is compared with that; such figures say nothing about real
    smears.

    Examples:

        hemaserve demo

        hemaserve demo --profile tiny

        hemaserve demo --fields my-fields/ --out out/mine
    """
    options.check_address(address)
    # A shell's background job ignores SIGINT, but the stack that is started here must not be left behind.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        files, truth = (
            (image_files([fields])[:MOST_FIELDS], None) if fields else write_sample(out_dir / "fields")
        )
    except NoImages as error:
        raise typer.BadParameter(str(error), param_hint="--fields") from None
    except OSError as error:
        raise typer.BadParameter(f"cannot write there: {error.strerror}", param_hint="--out") from None
    with errors_told(address), _some_stack(address, profile):
        analysis = asyncio.run(_analyze(address, files))
        print_smear(out, analysis.result, analysis.failed)
        synthetic = truth is not None
        _print_comparison(None if truth is None else compare(analysis, truth))
        pictures = write_pictures(
            analysis, out_dir, title=lambda file: "Synthetic field" if synthetic else file.name
        )
        document = out_dir / "result.json"
        document.write_text(json.dumps(analysis.to_json(), indent=2) + "\n", encoding="utf-8")
        for picture in pictures[:1]:
            out.print(f"\nLook at [bold]{picture}[/]", highlight=False, soft_wrap=True)
        out.print(f"All {len(pictures)} pictures and {document.name} are in {out_dir}", highlight=False)
    if analysis.failed:
        raise typer.Exit(ExitCode.INCOMPLETE)


@contextlib.contextmanager
def _some_stack(address: str, profile: str | None) -> Iterator[None]:
    """The stack that runs at the address, or one that is started for the block."""
    if asyncio.run(_is_serving(address)):
        err.print(f"Using the stack that runs at {address}", highlight=False)
        yield
        return
    err.print("No stack runs yet: starting one. The first start takes longer than the next ones.")
    try:
        with running_stack(address, profile):
            yield
    except StackFailed as error:
        raise typer.Exit(error.code) from None


async def _is_serving(address: str) -> bool:
    async with Client(address, connect_timeout_s=1.0, timeout_s=5.0) as client:
        try:
            return (await client.health()).serving
        except UnavailableError:
            return False


async def _analyze(address: str, files: list[Path]) -> Analysis:
    async with Client(address) as client:
        return await analyze_files(client, files, smear_id="demo")


def _print_comparison(comparison: Comparison | None) -> None:
    if comparison is None:
        return
    out.print(
        "\n[bold]The sample is synthetic[/]: drawn by a generator, no patient, no photograph. Against what it drew: "
        f"{comparison.found} of {comparison.placed} white cells found, {comparison.extra} found that are none, "
        f"{comparison.right} of {comparison.named} identified ones named right. "
        "This says that the path works, and nothing about real smears.",
        highlight=False,
    )


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM ends the demo like Ctrl-C does: with its stack."""
    raise KeyboardInterrupt
