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
    """What can be trained."""

    YOLOV8N = "yolov8n"
    XCEPTION = "xception"
    VIT = "vit"
    ENSEMBLE = "ensemble"


class Split(StrEnum):
    """A split of the PBC tiles."""

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
    """Train one network. The ensemble has no weights of its own: there is nothing to train."""
    from dataclasses import replace

    if name is Network.YOLOV8N:
        from training import detector

        recipe = detector.DetectorRecipe()
        detector.train(replace(recipe, epochs=epochs or recipe.epochs), resume)
    elif name is not Network.ENSEMBLE:
        from training import trainer

        classifier = trainer.RECIPES[name]
        trainer.train(replace(classifier, epochs=epochs or classifier.epochs), resume)


@app.command()
def boxes(
    split: Annotated[list[Split] | None, typer.Argument(help="Splits to look at; default: all.")] = None,
    force: Annotated[bool, typer.Option(help="Look again where boxes are cached.")] = False,
) -> None:
    """Find the cell in each PBC tile with the trained detector, and cut the crops that classifiers train on."""
    from training import boxes as finder
    from training import crops
    from training.detector import DetectorRecipe

    for one in split or list(Split):
        if force:
            finder.cache_path(one).unlink(missing_ok=True)
            crops.forget(one)
        if not finder.cache_path(one).exists():
            finder.find_boxes(one, DetectorRecipe())
        crops.cut(one, [crops.SERVED, crops.CONTEXTUAL] if one is Split.TRAIN else [crops.SERVED])


@app.command()
def calibrate(name: Name) -> None:
    """Fit a classifier's temperature on the crops kept out of training. A detector has none."""
    from training import calibrate as calibration

    if name is not Network.YOLOV8N:
        calibration.calibrate(name)


@app.command()
def evaluate(name: Name) -> None:
    """Measure a network on the validation split and choose its thresholds there."""
    if name is Network.YOLOV8N:
        from training import evaluate_detector
        from training.detector import DetectorRecipe

        evaluate_detector.evaluate(DetectorRecipe())
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
    from training import export as exporter
    from training.detector import DetectorRecipe

    if name is Network.YOLOV8N:
        path = exporter.export_detector(DetectorRecipe(), untrained=untrained)
    elif name is Network.ENSEMBLE:
        path = exporter.export_ensemble(untrained=untrained)
    else:
        path = exporter.export_classifier(name, untrained=untrained)
    typer.echo(path)


@app.command()
def run(name: Name, resume: Resume = True, epochs: Epochs = None) -> None:
    """All steps for one network: train, calibrate, evaluate, export. Classifiers need `run yolov8n` first."""
    if name is not Network.YOLOV8N:
        boxes()
    train(name, resume, epochs)
    calibrate(name)
    evaluate(name)
    export(name)


if __name__ == "__main__":
    app()
