"""Write the model repository: ONNX files, Triton's configurations and the model cards."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import torch

from hemaserve.cells import LEAF_TYPES
from hemaserve.imaging import PREPROCESSING_VERSION
from training import cards, detector, onnx_graph, triton_config
from training.checkpoints import load_trained
from training.classifier_specs import (
    BATCH,
    EVIDENCE,
    OOD_SCORE,
    PROBABILITIES,
    CropSpec,
    ensemble_spec,
    network_spec,
    vote_spec,
)
from training.crops import CROP_MARGIN
from training.detector import DetectorRecipe
from training.ensemble import ENSEMBLES, Ensemble, proper_subsets, subset_name
from training.recipes import RECIPES
from training.results import CalibrationFigures, ClassifierFigures, DetectorFigures, ScreenFigures
from training.screen import CELL_TASK
from training.settings import settings
from training.triton_config import ModelSpec, TensorSpec
from training.vote_graph import export_vote

log = logging.getLogger(__name__)

FIELD_BATCH = 16

#: SPDX's way to name terms that have no identifier: what may be done with the images that it was trained on.
SCREEN_LICENCE = "LicenseRef-research-use"

#: Of networks with random weights, which have nothing that limits could be chosen from.
_UNTRAINED = CalibrationFigures(ood_limit=3.0, disagreement_limit=0.5)


def export_classifier(name: str, *, untrained: bool = False) -> Path:
    """Export one network with its calibration inside. `untrained` stands in where there are no weights."""
    unmeasured = ClassifierFigures(name=name, ood_limit=_UNTRAINED.ood_limit)
    figures = unmeasured if untrained else ClassifierFigures.read(name)
    recipe = RECIPES[name]
    network = recipe.build().eval() if untrained else load_trained(name)
    crops = CropSpec(recipe.side_px, CROP_MARGIN)
    folder = settings().model_repository / name
    path = folder / "1" / "model.onnx"
    served = onnx_graph.ServedClassifier(
        network, figures.temperature, figures.energy_mean, figures.energy_deviation
    )
    onnx_graph.export(
        served,
        path,
        side=recipe.side_px,
        input_name=crops.tensor.name,
        output_names=[PROBABILITIES.name, OOD_SCORE.name, EVIDENCE],
        storage=recipe.storage,
        tolerance=recipe.tolerance,
    )
    digest = onnx_graph.sha256(path)
    places = onnx_graph.places(path, EVIDENCE)
    triton_config.write(network_spec(figures, recipe.title, digest, crops, places), folder)
    cards.write_classifier(folder, figures, recipe.title, digest)
    return path


def export_ensemble(name: str, *, untrained: bool = False) -> Path:
    """Export the vote, and the ensemble that runs the members side by side and then votes."""
    ensemble = ENSEMBLES[name]
    figures = _untrained_ensemble(ensemble) if untrained else ClassifierFigures.read(name)
    folder = settings().model_repository / ensemble.vote
    path = folder / "1" / "model.onnx"
    export_vote(path, ensemble.members, len(LEAF_TYPES), figures.temperature)
    digest = onnx_graph.sha256(path)
    triton_config.write(vote_spec(figures, ensemble, digest), folder)
    cards.write_vote(folder, figures, digest)

    folder = settings().model_repository / name
    crops = CropSpec(RECIPES[ensemble.members[0]].side_px, CROP_MARGIN)
    triton_config.write(ensemble_spec(figures, ensemble, digest, crops), folder)
    # Triton wants a version folder even where a model has no file, and git keeps no empty folders.
    (folder / "1").mkdir(exist_ok=True)
    (folder / "1" / ".gitkeep").touch()
    cards.write_classifier(folder, figures, ensemble.title, digest)
    return path


def _untrained_ensemble(ensemble: Ensemble) -> ClassifierFigures:
    subsets = {
        subset_name(subset): _UNTRAINED.model_copy(
            update={} if len(subset) > 1 else {"disagreement_limit": None}
        )
        for subset in proper_subsets(ensemble.members)
    }
    return ClassifierFigures(name=ensemble.name, subsets=subsets, **_UNTRAINED.model_dump())


def export_screen(name: str, *, untrained: bool = False) -> Path:
    """Export a network of the leukemia screen. All classes but the first, benign, flag."""
    figures = ScreenFigures(name=name) if untrained else ScreenFigures.read(name)
    recipe = RECIPES[name]
    classes = recipe.task.classes
    network = recipe.build().eval() if untrained else load_trained(name)
    of_cells = recipe.task is CELL_TASK
    crops = CropSpec(recipe.side_px, CROP_MARGIN)
    images = crops.tensor if of_cells else replace(crops.tensor, name="fields")
    folder = settings().model_repository / name
    path = folder / "1" / "model.onnx"
    onnx_graph.export(
        onnx_graph.ServedScreen(network, figures.temperature),
        path,
        side=recipe.side_px,
        input_name=images.name,
        output_names=[PROBABILITIES.name],
    )
    digest = onnx_graph.sha256(path)
    title = recipe.title
    parameters = {
        "task": "screen_cell" if of_cells else "screen_field",
        "title": title,
        "classes": ",".join(classes),
        "flag_classes": ",".join(classes[1:]),
        "flag_threshold": repr(figures.flag_threshold),
        "preprocessing_version": PREPROCESSING_VERSION,
        **({"crop_margin": repr(crops.margin)} if of_cells else {}),
        "temperature": repr(round(figures.temperature, 6)),
        "sha256": digest,
        "licence": SCREEN_LICENCE,
    }
    probabilities = TensorSpec(PROBABILITIES.name, PROBABILITIES.data_type, (len(classes),))
    spec = ModelSpec(name, BATCH if of_cells else FIELD_BATCH, (images,), (probabilities,), parameters)
    triton_config.write(spec, folder)
    cards.write_screen(folder, figures, title, digest)
    return path


def export_detector(recipe: DetectorRecipe, *, untrained: bool = False) -> Path:
    """Export the detector with raw predictions; suppression is the service's, which has several tiles to merge."""
    figures = DetectorFigures(name=recipe.name) if untrained else DetectorFigures.read(recipe.name)
    path = recipe.exported
    folder = path.parents[1]
    onnx_graph.export(
        onnx_graph.ServedDetector(detector.exportable(recipe)),
        path,
        side=recipe.input_px,
        input_name="images",
        output_names=["predictions"],
    )
    with torch.inference_mode():
        probe = torch.zeros(1, recipe.input_px, recipe.input_px, 3, dtype=torch.uint8).numpy()
        (predictions,) = onnx_graph.run_onnxruntime(path, probe)
    digest = onnx_graph.sha256(path)
    thresholds = dict.fromkeys(detector.KINDS, 0.3)
    thresholds |= {kind: kind_figures.score_threshold for kind, kind_figures in figures.kinds.items()}
    parameters = {
        "task": "detection",
        "title": recipe.title,
        "kinds": ",".join(detector.KINDS),
        "preprocessing_version": PREPROCESSING_VERSION,
        "nms_iou": repr(figures.nms_iou),
        "score_threshold": repr(min(thresholds.values())),
        **{f"score_threshold.{kind}": repr(threshold) for kind, threshold in thresholds.items()},
        "sha256": digest,
        "licence": "AGPL-3.0-only",
    }
    images = TensorSpec("images", "TYPE_UINT8", (recipe.input_px, recipe.input_px, 3))
    output = TensorSpec("predictions", "TYPE_FP32", predictions.shape[1:])
    triton_config.write(ModelSpec(recipe.name, FIELD_BATCH, (images,), (output,), parameters), folder)
    cards.write_detector(folder, figures, recipe.title, digest)
    return path
