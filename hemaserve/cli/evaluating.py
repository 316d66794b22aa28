"""Carrying out an evaluation for the command: watched, printed, written, drawn, and ended as it went."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.markup import escape

from hemaserve.cli import options
from hemaserve.cli.console import err, out
from hemaserve.cli.exits import ExitCode, errors_told
from hemaserve.cli.watching import Watchable, watch
from hemaserve.errors import FailedPrecondition, InvalidArgument
from hemaserve.evaluation import extra, tables
from hemaserve.evaluation.outcome import Evaluation


@dataclass(frozen=True, slots=True)
class Show:
    """How the figures of an evaluation are shown.

    Attributes:
        tables: for the terminal.
        draw: writes pictures into a folder.
        plots: the folder, when pictures are wanted.
    """

    tables: Callable[[Any], RenderableType]
    draw: Callable[[Any, Path], None] | None = None
    plots: Path | None = None


@contextlib.contextmanager
def usage_errors() -> Iterator[None]:
    """A wrong argument or folder ends as a usage error; a missing extra says what to install."""
    try:
        yield
    except InvalidArgument as error:
        message = f"{error.value}; allowed: {error.allowed}"
        raise typer.BadParameter(message, param_hint=error.field) from None
    except FailedPrecondition as error:
        err.print(f"[bold red]error:[/] {escape(error.message)}", highlight=False)
        raise typer.Exit(ExitCode.FAILED) from None


def evaluate(
    run: Watchable[Evaluation[Any]],
    show: Show,
    *,
    folder: Path,
    address: str,
    json_file: Path | None,
) -> None:
    """Run an evaluation with a progress bar, print, write and draw its figures, and exit as it went."""
    options.check_address(address)
    to_stdout = json_file == Path("-")
    if json_file is not None and not to_stdout:
        if json_file.is_dir():
            raise InvalidArgument("--json", "a folder", "a file")
        _make_folder(json_file.parent, "--json")
    if show.plots is not None:
        extra.load("matplotlib")
        _make_folder(show.plots, "--plots")
    with errors_told(address):
        evaluation = asyncio.run(watch(run, address, doing="evaluating"))
        _print(evaluation, show, folder, err if to_stdout else out)
        if json_file is not None:
            _write(evaluation.as_json(folder), json_file)
        if evaluation.report is not None:
            _draw(evaluation.report, show)
        if evaluation.error is not None:
            raise evaluation.error
    if evaluation.partial:
        raise typer.Exit(ExitCode.INTERRUPTED)
    if evaluation.failed:
        raise typer.Exit(ExitCode.INCOMPLETE)


def _write(figures: dict[str, Any], json_file: Path) -> None:
    text = json.dumps(figures, indent=2, ensure_ascii=False, allow_nan=False)
    if json_file == Path("-"):
        typer.echo(text)
        return
    try:
        json_file.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        err.print(f"[bold red]error:[/] cannot write the figures: {error.strerror}", highlight=False)
        raise typer.Exit(ExitCode.USAGE) from None


def _draw(report: Any, show: Show) -> None:
    if show.draw is None or show.plots is None:
        return
    try:
        show.draw(report, show.plots)
    except OSError as error:
        err.print(f"[bold red]error:[/] cannot write the pictures: {error.strerror}", highlight=False)
        raise typer.Exit(ExitCode.USAGE) from None


def _make_folder(folder: Path, option: str) -> None:
    """Find out that there is no place for the figures before the evaluation, not after it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidArgument(option, error.strerror or "no place", "a place that can be written") from None


def _print(evaluation: Evaluation[Any], show: Show, folder: Path, console: Console) -> None:
    if evaluation.partial and evaluation.report is not None:
        console.print("PARTIAL: not all images were evaluated.", style="bold yellow")
    if evaluation.report is not None:
        console.print(show.tables(evaluation.report))
    if evaluation.failed:
        console.print(tables.failed_lines(evaluation.failed, folder))
    if evaluation.provenance is not None:
        console.print(tables.provenance_line(evaluation.provenance))
