"""`hemaserve evaluate`: how well does it do on images that a laboratory has labelled itself?"""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from hemaserve.cells import CellType, parse_cell_type
from hemaserve.cli import options
from hemaserve.cli.connection import connects
from hemaserve.cli.evaluating import Show, evaluate, evaluate_each, usage_errors
from hemaserve.cli.exits import EXIT_CODES_HELP
from hemaserve.client import DEFAULT_ADDRESS
from hemaserve.evaluation import pictures, tables
from hemaserve.evaluation.asking import IN_FLIGHT
from hemaserve.evaluation.cells import evaluate_cells_by
from hemaserve.evaluation.datasets import YOLO_KINDS, Finer, read_cell_folders, read_voc, read_yolo
from hemaserve.evaluation.detections import evaluate_detections
from hemaserve.evaluation.explanation_tables import explanation_tables
from hemaserve.evaluation.explanations import LIMIT, evaluate_explanations
from hemaserve.evaluation.fields import evaluate_fields
from hemaserve.evaluation.screen import evaluate_screen
from hemaserve.evaluation.screen_tables import screen_tables

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
Plots = Annotated[
    Path | None,
    typer.Option(
        "--plots", metavar="DIR", file_okay=False, help="Write the figures as pictures (SVG) there."
    ),
]


@app.command("cells", epilog=EXIT_CODES_HELP)
@connects
def cells(
    folder: Folder,
    *,
    address: options.Address = DEFAULT_ADDRESS,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="Classification model, see `hemaserve models`. May be given several times: the cells are found "
            "once and named by each. Default: the stack's.",
        ),
    ] = None,
    site_profile: options.SiteProfile = None,
    whole: Annotated[
        bool,
        typer.Option(
            "--whole", help="Every image is the crop: the whole of it is classified, and nothing is detected."
        ),
    ] = False,
    types: Annotated[
        str | None,
        typer.Option(
            "--types", metavar="A,B,C", help="Choose among these types only, and leave out images of others."
        ),
    ] = None,
    finer: Annotated[
        Finer | None,
        typer.Option(
            "--finer",
            help="Where finer types than the folder's are: `prefix` is what stands before the first _ of file names.",
        ),
    ] = None,
    json_file: options.JsonFile = None,
    plots: Plots = None,
    in_flight: InFlight = IN_FLIGHT,
) -> None:
    """Single cells: one folder a type, one cell in the middle of each image.

    Folders are named after types, leniently: `ig`, `immature_granulocyte`, `NEUTROPHIL`. Finer types roll up to the
    folder's type. Each image goes the way of a field: the detection nearest to its centre is taken; where none holds
    the centre, the middle of the image is classified and counted under `fallbacks`.

    With `--whole` the whole image is classified instead. One that is not square is made so: its longer side becomes the
    crop's side, and its outermost pixels are repeated.

    With several `--model`, `{model}` in the paths of `--json` and `--plots` stands for each of them.

    `accuracy` is the share of right best guesses over all images, identified or not; images of a type that the model
    cannot answer are wrong, and counted under `unanswerable`. With `--finer prefix`, files
    whose names begin with a finer type (`BNE_1.png` in `neutrophil`) also tell how well leaves are told apart.
    """
    with usage_errors():
        images = read_cell_folders(folder, finer=finer)
        closed = _parse_types(types)
        # The same model twice would be the same figures twice.
        models: list[str | None] = [*dict.fromkeys(model or [])] or [None]
        run = partial(
            evaluate_cells_by,
            images=images,
            models=models,
            site_profile=site_profile,
            types=closed,
            finer=finer,
            whole=whole,
            in_flight=in_flight,
        )
        show = Show(tables.cell_tables, pictures.draw_cells, plots)
        evaluate_each(run, models, show, folder=folder, address=address, json_file=json_file)


@app.command("detections", epilog=EXIT_CODES_HELP)
@connects
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
    with usage_errors():
        fields_ = read_yolo(folder, split=split, kinds=options.parse_kinds(kinds))
        run = partial(evaluate_detections, fields=fields_, model=model, in_flight=in_flight)
        show = Show(tables.detection_tables)
        evaluate(run, show, folder=folder, address=address, json_file=json_file)


@app.command("fields", epilog=EXIT_CODES_HELP)
@connects
def fields(
    folder: Folder,
    *,
    address: options.Address = DEFAULT_ADDRESS,
    model: options.Model = None,
    site_profile: options.SiteProfile = None,
    json_file: options.JsonFile = None,
    plots: Plots = None,
    in_flight: InFlight = IN_FLIGHT,
) -> None:
    """Whole fields: `images/`, VOC `annotations/`, and `wbc_types.csv` with the types of each field's white cells.

    Found white cells are matched to the labelled ones at an overlap of 0.5. Where a field names several types, each can
    be used up once.
    """
    with usage_errors():
        run = partial(
            evaluate_fields,
            fields=read_voc(folder),
            model=model,
            site_profile=site_profile,
            in_flight=in_flight,
        )
        show = Show(tables.fields_tables, pictures.draw_fields, plots)
        evaluate(run, show, folder=folder, address=address, json_file=json_file)


@app.command("screen", epilog=EXIT_CODES_HELP)
@connects
def screen(
    folder: Folder,
    *,
    address: options.Address = DEFAULT_ADDRESS,
    model: options.Model = None,
    site_profile: options.SiteProfile = None,
    json_file: options.JsonFile = None,
    in_flight: InFlight = IN_FLIGHT,
) -> None:
    """The leukemia screen: fields in one folder a class, e.g. `benign`, `early`, `pre`, `pro`.

    Folders are named after the classes of the stack's screening network, leniently: case, plural and punctuation do
    not matter. Sensitivity and specificity are those of its flag. A flag is a reason to look, never a diagnosis.
    """
    with usage_errors():
        run = partial(
            evaluate_screen, folder=folder, model=model, site_profile=site_profile, in_flight=in_flight
        )
        show = Show(screen_tables)
        evaluate(run, show, folder=folder, address=address, json_file=json_file)


@app.command("explanations", epilog=EXIT_CODES_HELP)
@connects
def explanations(
    folder: Folder,
    *,
    address: options.Address = DEFAULT_ADDRESS,
    model: options.Model = None,
    site_profile: options.SiteProfile = None,
    limit: Annotated[
        int,
        typer.Option("--limit", min=1, help="How many cells to take, of all types: always the same ones."),
    ] = LIMIT,
    json_file: options.JsonFile = None,
    in_flight: InFlight = IN_FLIGHT,
) -> None:
    """Heat maps: does blotting out what they mark move the answer more than blotting out elsewhere?

    Folders as for `evaluate cells`; their names only see to it that all types take part. Of each cell's crop a fifth is
    painted over with the colour of its edge: what the map of the cell's type marks most, what it marks least, the same
    shape at random places, and the middle. The further the type's probability falls for the first, the better the map.
    """
    with usage_errors():
        run = partial(
            evaluate_explanations,
            images=read_cell_folders(folder),
            model=model,
            site_profile=site_profile,
            limit=limit,
            in_flight=in_flight,
        )
        show = Show(explanation_tables)
        evaluate(run, show, folder=folder, address=address, json_file=json_file)


def _parse_types(text: str | None) -> list[CellType]:
    try:
        return [parse_cell_type(name) for name in (text or "").split(",") if name.strip()]
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--types") from None
