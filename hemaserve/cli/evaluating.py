"""Carrying out an evaluation for the command: watched, printed, written, drawn, and ended as it went."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.markup import escape

from hemaserve.cli import options
from hemaserve.cli.console import err, out
from hemaserve.cli.exits import ExitCode, errors_told
from hemaserve.cli.watching import Watchable, watch
from hemaserve.client import Client
from hemaserve.errors import FailedPrecondition, InvalidArgument
from hemaserve.evaluation import extra, tables
from hemaserve.evaluation.asking import OnProgress
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


MODEL = "{model}"
"""Stands for each model in the names of the files and folders that an evaluation by several models writes."""


def evaluate(
    run: Watchable[Evaluation[Any]],
    show: Show,
    *,
    folder: Path,
    address: str,
    json_file: Path | None,
) -> None:
    """Run an evaluation with a progress bar, print, write and draw its figures, and exit as it went."""

    async def only(
        client: Client, *, stop: asyncio.Event, on_progress: OnProgress
    ) -> Sequence[Evaluation[Any]]:
        return [await run(client, stop=stop, on_progress=on_progress)]

    evaluate_each(only, [None], show, folder=folder, address=address, json_file=json_file)


def evaluate_each(
    run: Watchable[Sequence[Evaluation[Any]]],
    models: Sequence[str | None],
    show: Show,
    *,
    folder: Path,
    address: str,
    json_file: Path | None,
) -> None:
    """Likewise, for as many evaluations as there are models; those after one that ended early may be missing.

    Raises:
        InvalidArgument: the models would write into each other's files, or there is no place for these.
    """
    options.check_address(address)
    to_stdout = json_file == Path("-")
    shows = [replace(show, plots=_place(show.plots, model, models, "--plots")) for model in models]
    json_files = [_place(json_file, model, models, "--json") for model in models]
    _check_places(() if to_stdout else json_files, shows)
    with errors_told(address):
        evaluations = asyncio.run(watch(run, address, doing="evaluating"))
        for model, evaluation, each, json_path in zip(models, evaluations, shows, json_files, strict=False):
            console = err if to_stdout else out
            if len(models) > 1:
                console.rule(escape(model or "default"))
            _print(evaluation, each, folder, console)
            if json_path is not None:
                _write(evaluation.as_json(folder), json_path)
            if evaluation.report is not None:
                _draw(evaluation.report, each)
        if evaluations and (error := evaluations[-1].error) is not None:
            raise error
    if any(evaluation.partial for evaluation in evaluations):
        raise typer.Exit(ExitCode.INTERRUPTED)
    if any(evaluation.failed for evaluation in evaluations):
        raise typer.Exit(ExitCode.INCOMPLETE)


def _place(path: Path | None, model: str | None, models: Sequence[str | None], option: str) -> Path | None:
    """Where the figures of a model go."""
    if path is None or len(models) == 1:
        return path
    if MODEL not in str(path):
        raise InvalidArgument(option, f"{path}, with several models", f"a path with {MODEL} in it")
    return Path(str(path).replace(MODEL, str(model)))


def _check_places(json_files: Iterable[Path | None], shows: Iterable[Show]) -> None:
    """Find out that there is no place for the figures before the evaluation, not after it."""
    for path in json_files:
        if path is not None:
            if path.is_dir():
                raise InvalidArgument("--json", "a folder", "a file")
            _make_folder(path.parent, "--json")
    for show in shows:
        if show.plots is not None:
            extra.load("matplotlib")
            _make_folder(show.plots, "--plots")


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
