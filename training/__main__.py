"""``python -m training``: every step from images to served networks, each with a command of its own."""

# Commands import what they need: torch takes seconds to load, and --help should not wait for it.
# ruff: noqa: PLC0415

from __future__ import annotations

import logging
from enum import StrEnum
from typing import Annotated

import typer

app = typer.Typer(
    help="Train, calibrate, evaluate and export the networks that HemaServe serves. `run NAME` does all steps.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


class Network(StrEnum):
    """What can be trained, in an order in which everything that a network builds on comes before it."""

    YOLOV8N_BASE = "yolov8n-base"
    YOLOV8N = "yolov8n"
    YOLOV8N_WITHOUT_BCCD = "yolov8n-without-bccd"
    YOLOV5N = "yolov5n"
    YOLOV5X6 = "yolov5x6"
    BHAVANA_YOLOV8N = "bhavana_yolov8n"
    BHAVANA_YOLOV5X6 = "bhavana_yolov5x6"
    EFFICIENTNET = "efficientnet"
    EFFICIENTNET_BASE = "efficientnet-base"
    XCEPTION_BASE = "xception-base"
    XCEPTION = "xception"
    VIT = "vit"
    ENSEMBLE = "ensemble"
    LEUKEMIA_FIELD = "leukemia_field"
    LEUKEMIA_CELL = "leukemia_cell"
    VGG19 = "vgg19"
    UNET = "unet"
    RESNET50 = "resnet50"
    INCEPTIONV3 = "inceptionv3"
    SQUEEZENET = "squeezenet"
    EFFICIENTNET_B0 = "efficientnet_b0"
    EFFICIENTNET_B2 = "efficientnet_b2"
    EFFICIENTNET_B3 = "efficientnet_b3"
    HYBRID_DENSE = "hybrid_dense"
    HYBRID_GRAPH = "hybrid_graph"
    COMPARATIVE_ENSEMBLE = "comparative_ensemble"
    HUSSIEN2025_VGG19_80 = "hussien2025_vgg19_80"
    HUSSIEN2025_XCEPTION_80 = "hussien2025_xception_80"
    HUSSIEN2025_UNET_80 = "hussien2025_unet_80"
    HUSSIEN2025_VGG19_90 = "hussien2025_vgg19_90"
    HUSSIEN2025_XCEPTION_90 = "hussien2025_xception_90"
    HUSSIEN2025_UNET_90 = "hussien2025_unet_90"
    ALTARAWNEH2023_HYBRID_DENSE = "altarawneh2023_hybrid_dense"
    ALBADAREEN2024_SQUEEZENET = "albadareen2024_squeezenet"
    ALBADAREEN2024_INCEPTIONV3 = "albadareen2024_inceptionv3"
    ALBADAREEN2024_RESNET50 = "albadareen2024_resnet50"
    BHAVANA_XCEPTION = "bhavana_xception"
    BHAVANA_EFFICIENTNET_B0 = "bhavana_efficientnet_b0"
    BHAVANA_EFFICIENTNET_B2 = "bhavana_efficientnet_b2"
    BHAVANA_EFFICIENTNET_B3 = "bhavana_efficientnet_b3"
    MOONEY_HYBRID_DENSE_ORIGINAL = "mooney_hybrid_dense_original"
    MOONEY_HYBRID_DENSE_RANDOM = "mooney_hybrid_dense_random"
    MOONEY_HYBRID_GRAPH_ORIGINAL = "mooney_hybrid_graph_original"
    MOONEY_HYBRID_GRAPH_RANDOM = "mooney_hybrid_graph_random"
    MOONEY_ALTARAWNEH2023_ORIGINAL = "mooney_altarawneh2023_original"
    MOONEY_ALTARAWNEH2023_RANDOM = "mooney_altarawneh2023_random"

    @property
    def detects(self) -> bool:
        return self.startswith(("yolo", "bhavana_yolo"))

    @property
    def votes(self) -> bool:
        return self.endswith("ensemble")

    @property
    def is_to_compare(self) -> bool:
        """Whether it repeats a paper's recipe or task, and never serves."""
        return self.startswith(("hussien", "altarawneh", "albadareen", "bhavana", "mooney"))

    @property
    def is_a_start(self) -> bool:
        """Whether it only is what another network starts from, and never served."""
        return self.endswith("-base")

    @property
    def screens(self) -> bool:
        return self.startswith("leukemia")


class Split(StrEnum):
    """A split of a data set."""

    TRAIN = "train"
    VAL = "val"


Name = Annotated[Network, typer.Argument(help="The network's name in the model repository.")]
Resume = Annotated[bool, typer.Option(help="Go on after the last finished epoch, if there is one.")]
Epochs = Annotated[int | None, typer.Option(min=1, help="Epochs, instead of the recipe's.")]


@app.callback()
def _logging() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")


@app.command()
def train(name: Name, resume: Resume = True, epochs: Epochs = None) -> None:
    """Train one network. An ensemble has no weights of its own: there is nothing to train."""
    from dataclasses import replace

    if name.detects:
        from training import detector

        recipe = detector.RECIPES[name]
        detector.train(replace(recipe, epochs=epochs or recipe.epochs), resume)
    elif not name.votes:
        from training import recipes, trainer

        classifier = recipes.RECIPES[name]
        trainer.train(replace(classifier, epochs=epochs or classifier.epochs), resume)


@app.command()
def restore(name: Name) -> None:
    """Make a checkpoint from the exported file of a network, to train it further where it was not trained."""
    from training import recipes
    from training import restore as restoring

    typer.echo(restoring.restore(recipes.RECIPES[name]))


@app.command()
def boxes(
    split: Annotated[list[Split] | None, typer.Argument(help="Splits to look at; default: all.")] = None,
    force: Annotated[bool, typer.Option(help="Look again where boxes are cached.")] = False,
) -> None:
    """Find the cell in each PBC tile with the exported detector: the crops that classifiers train on are cut there."""
    from training import boxes as finder
    from training import crops, tile_boxes
    from training.detector import RECIPES

    for one in split or list(Split):
        if force:
            tile_boxes.cache_path(one).unlink(missing_ok=True)
            crops.forget(f"pbc-{one}")
        if not tile_boxes.cache_path(one).exists():
            finder.find_boxes(one, RECIPES[Network.YOLOV8N])


@app.command()
def leukemia_boxes(
    split: Annotated[list[Split] | None, typer.Argument(help="Splits to look at; default: all.")] = None,
    address: Annotated[str, typer.Option(help="The gateway of running services.")] = "127.0.0.1:50051",
) -> None:
    """Find the white cells of the leukemia fields with the running services: start `hemaserve up` first."""
    from training import crops
    from training import leukemia_boxes as finder

    for one in split or list(Split):
        crops.forget(f"leukemia-{one}")
        typer.echo(f"{one}: {finder.find_boxes(one, address)} white cells")


@app.command()
def mooney() -> None:
    """Write the fields of Mooney's set that measure, split in both ways, for `hemaserve evaluate cells --whole`."""
    from training.mooney import write_folders
    from training.settings import settings

    write_folders(settings().runs / "mooney")


@app.command()
def calibrate(name: Name) -> None:
    """Fit a network's temperature on what was kept out of training. A detector has none."""
    if name.screens:
        from training import screen_figures

        screen_figures.calibrate(name)
    elif not name.detects:
        from training import calibrate as calibration

        calibration.calibrate(name)


@app.command()
def evaluate(name: Name) -> None:
    """Measure a network on the validation split and choose its thresholds there."""
    if name.detects:
        from training import detector, evaluate_detector

        evaluate_detector.evaluate(detector.RECIPES[name])
    elif name.screens:
        from training import screen_figures

        screen_figures.evaluate(name)
    else:
        from training import evaluate as evaluation

        evaluation.evaluate(name)


@app.command()
def export(
    name: Name,
    untrained: Annotated[
        bool,
        typer.Option(help="Export random weights with the final names and shapes, to build services on."),
    ] = False,
) -> None:
    """Write ONNX, Triton's configurations and the model card into the model repository."""
    from training import detector
    from training import export as exporter

    if name.detects:
        path = exporter.export_detector(detector.RECIPES[name], untrained=untrained)
    elif name.screens:
        path = exporter.export_screen(name, untrained=untrained)
    elif name.votes:
        path = exporter.export_ensemble(name, untrained=untrained)
    else:
        path = exporter.export_classifier(name, untrained=untrained)
    typer.echo(path)


@app.command()
def report(name: Name) -> None:
    """Draw learning curves, confusion matrices and reliability into docs/models, for the model card."""
    from training import report as reporting

    for path in reporting.report(name):
        typer.echo(path)


@app.command()
def reference(
    address: Annotated[str, typer.Option(help="Gateway of a running stack.")] = "127.0.0.1:50051",
) -> None:
    """Find the colours of the training laboratory, which site profiles correct to, with a running stack."""
    from training import reference as colours

    typer.echo(colours.write(address))


def lay_foundations(name: Network) -> None:
    """Train what a network builds on, where that is not there yet."""
    from training import checkpoints, detector
    from training.ensemble import ENSEMBLES
    from training.recipes import RECIPES
    from training.settings import settings

    if name.votes:
        for member in map(Network, ENSEMBLES[name].members):
            if not (settings().model_repository / member).exists():
                run(member)
        return
    recipe = detector.RECIPES[name] if name.detects else RECIPES[name]
    for each in map(Network, recipe.builds_on):
        done = detector.RECIPES[each].is_trained if each.detects else checkpoints.is_trained(each)
        if not done:
            lay_foundations(each)
            train(each)


@app.command()
def run(name: Name, resume: Resume = True, epochs: Epochs = None) -> None:
    """All steps for one network: train, calibrate, evaluate, export, report.

    What it builds on is trained first where that has not been done here: its teacher, the network whose weights it
    starts from, the members of an ensemble.
    """
    if not (name.detects or name.screens):
        boxes()
    lay_foundations(name)
    train(name, resume, epochs)
    if name.is_a_start:
        return
    if name.detects:
        export(name, untrained=True)  # a detector is measured through its exported file
    calibrate(name)
    evaluate(name)
    if not name.is_to_compare:
        export(name)
    report(name)


if __name__ == "__main__":
    app()
