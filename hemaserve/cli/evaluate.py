"""`hemaserve evaluate`: how well does it do on images that a laboratory has labelled itself?"""

import asyncio
import contextlib
import json
import signal
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hemaserve.cells import CellType, parse_cell_type
from hemaserve.cli import options
from hemaserve.cli.console import err, out
from hemaserve.cli.exits import EXIT_CODES_HELP, ExitCode, errors_told
from hemaserve.client import DEFAULT_ADDRESS, Client
from hemaserve.errors import FailedPrecondition, InvalidArgument
from hemaserve.evaluation import tables
from hemaserve.evaluation.asking import IN_FLIGHT, OnProgress
from hemaserve.evaluation.cells import evaluate_cells
from hemaserve.evaluation.datasets import YOLO_KINDS, read_cell_folders, read_voc, read_yolo
from hemaserve.evaluation.detections import evaluate_detections
from hemaserve.evaluation.fields import evaluate_fields
from hemaserve.evaluation.outcome import Evaluation

app = typer.Typer(
    no_args_is_help=True,
    help="Measure a running stack on labelled images. Ctrl-C prints the figures so far.",
)

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", exists=True, file_okay=False, help="The labelled images.")
]
InFlight = Annotated[
    int, typer.Option("--in-flight", min=1, max=256, help="How many images are under way at once.")
]


class Evaluate(Protocol):
    """An evaluation, ready but for the client and for how it is watched and stopped."""

    def __call__(
        self, client: Client, *, stop: asyncio.Event, on_progress: OnProgress
    ) -> Awaitable[Evaluation[Any]]: ...


@app.command("cells", epilog=EXIT_CODES_HELP)
def cells(
    folder: Folder,
    *,
    address: options.Address = DEFAULT_ADDRESS,
    model: options.Model = None,
    types: Annotated[
        str | None,
        typer.Option(
            "--types", metavar="A,B,C", help="Choose among these types only, and leave out images of others."
        ),
    ] = None,
    json_file: options.JsonFile = None,
    in_flight: InFlight = IN_FLIGHT,
) -> None:
    """Single cells: one folder a type, one cell in the middle of each image.

    Folders are named after types, leniently: `ig`, `immature_granulocyte`, `NEUTROPHIL`. Finer types roll up to the
    folder's type. Each image goes the way of a field: the detection nearest to its centre is taken; where none holds
    the centre, the middle of the image is classified and counted under `fallbacks`.

    `accuracy` is the share of right best guesses over all images, identified or not.
    """
    with _usage_errors():
        images = read_cell_folders(folder)
        closed = _parse_types(types)
        run = partial(evaluate_cells, images=images, model=model, types=closed, in_flight=in_flight)
        _evaluate(run, tables.cell_tables, folder=folder, address=address, json_file=json_file)


@app.command("detections", epilog=EXIT_CODES_HELP)
def detections(
    folder: Folder,
    *,
    address: options.Address = DEFAULT_ADDRESS,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Detection model, see `hemaserve models`. Default: the stack's."),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split", help="Subfolder of images/ and labels/; `val` if not given and there are several."
        ),
    ] = None,
    kinds: Annotated[
        str, typer.Option("--kinds", metavar="A,B,C", help="What the classes 0, 1, 2 of the labels mean.")
    ] = ",".join(YOLO_KINDS),
    json_file: options.JsonFile = None,
    in_flight: InFlight = IN_FLIGHT,
) -> None:
    """Boxes: `images/` and `labels/` in YOLO format, each directly or with a subfolder for each split.

    Average precision is COCO's; recall and precision are at the model's own score thresholds and an overlap of 0.5.
    """
    with _usage_errors():
        fields_ = read_yolo(folder, split=split, kinds=options.parse_kinds(kinds))
        run = partial(evaluate_detections, fields=fields_, model=model, in_flight=in_flight)
        _evaluate(run, tables.detection_tables, folder=folder, address=address, json_file=json_file)


@app.command("fields", epilog=EXIT_CODES_HELP)
def fields(
    folder: Folder,
    *,
    address: options.Address = DEFAULT_ADDRESS,
    model: options.Model = None,
    json_file: options.JsonFile = None,
    in_flight: InFlight = IN_FLIGHT,
) -> None:
    """Whole fields: `images/`, VOC `annotations/`, and `wbc_types.csv` with the types of each field's white cells.

    Found white cells are matched to the labelled ones at an overlap of 0.5. Where a field names several types, each can
    be used up once.
    """
    with _usage_errors():
        run = partial(evaluate_fields, fields=read_voc(folder), model=model, in_flight=in_flight)
        _evaluate(run, tables.fields_tables, folder=folder, address=address, json_file=json_file)


def _parse_types(text: str | None) -> list[CellType]:
    try:
        return [parse_cell_type(name) for name in (text or "").split(",") if name.strip()]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--types") from None


@contextlib.contextmanager
def _usage_errors() -> Iterator[None]:
    """A wrong argument or folder ends as a usage error; a missing extra says what to install."""
    try:
        yield
    except InvalidArgument as error:
        message = f"{error.value}; allowed: {error.allowed}"
        raise typer.BadParameter(message, param_hint=error.field) from None
    except FailedPrecondition as error:
        err.print(f"[bold red]error:[/] {escape(error.message)}", highlight=False)
        raise typer.Exit(ExitCode.FAILED) from None


def _evaluate(
    run: Evaluate,
    show: Callable[[Any], RenderableType],
    *,
    folder: Path,
    address: str,
    json_file: Path | None,
) -> None:
    """Run an evaluation with a progress bar, print and write its figures, and exit as it went."""
    options.check_address(address)
    to_stdout = json_file == Path("-")
    if json_file is not None and not to_stdout:
        _make_room_for(json_file)
    with errors_told(address):
        evaluation = asyncio.run(_watch(run, address))
        _print(evaluation, show, folder, err if to_stdout else out)
        if json_file is not None:
            _write(evaluation.as_json(folder), json_file)
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


def _make_room_for(json_file: Path) -> None:
    """Find out that there is no place for a file before the evaluation, not after it."""
    if json_file.is_dir():
        raise InvalidArgument("--json", "a folder", "a file")
    try:
        json_file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidArgument("--json", error.strerror or "no place", "a file that can be written") from None


def _print(
    evaluation: Evaluation[Any], show: Callable[[Any], RenderableType], folder: Path, console: Console
) -> None:
    if evaluation.partial and evaluation.report is not None:
        console.print("PARTIAL: not all images were evaluated.", style="bold yellow")
    if evaluation.report is not None:
        console.print(show(evaluation.report))
    if evaluation.failed:
        console.print(tables.failed_lines(evaluation.failed, folder))
    if evaluation.provenance is not None:
        console.print(tables.provenance_line(evaluation.provenance))


async def _watch(run: Evaluate, address: str) -> Evaluation[Any]:
    """Run an evaluation under a progress bar; Ctrl-C ends it with the figures so far."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Where the loop cannot take signals (Windows), Ctrl-C ends the command without figures.
    with contextlib.suppress(NotImplementedError):
        loop.add_signal_handler(signal.SIGINT, stop.set)
    columns = (TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("evaluating", total=None)

        def on_progress(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        async with Client(address) as client:
            return await run(client, stop=stop, on_progress=on_progress)
