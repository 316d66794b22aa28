"""Write the model repository: ONNX files, Triton's configurations and the model cards."""

from __future__ import annotations

import logging
from pathlib import Path

import torch

from hemaserve.cells import LEAF_TYPES
from hemaserve.imaging import PREPROCESSING_VERSION
from training import cards, detector, onnx_graph, triton_config
from training.architectures import ARCHITECTURES, build
from training.crops import CROP_MARGIN, CROP_PX
from training.detector import DetectorRecipe
from training.ensemble import ENSEMBLE, MEMBERS, VOTE
from training.results import ClassifierFigures, DetectorFigures
from training.settings import settings
from training.trainer import load_trained
from training.triton_config import EnsembleStep, ModelSpec, TensorSpec

log = logging.getLogger(__name__)

CLASSIFIER_BATCH = 64
DETECTOR_BATCH = 16
_PROBABILITIES = TensorSpec("probabilities", "TYPE_FP32", (len(LEAF_TYPES),))
_CROPS = TensorSpec("crops", "TYPE_UINT8", (CROP_PX, CROP_PX, 3))


def export_classifier(name: str, *, untrained: bool = False) -> Path:
    """Export one network with its calibrated temperature inside. `untrained` stands in where there are no weights."""
    figures = ClassifierFigures(name=name) if untrained else ClassifierFigures.read(name)
    network = build(name).eval() if untrained else load_trained(name)
    folder = settings().model_repository / name
    path = folder / "1" / "model.onnx"
    onnx_graph.export(
        onnx_graph.ServedClassifier(network, figures.temperature),
        path,
        side=CROP_PX,
        input_name=_CROPS.name,
        output_name=_PROBABILITIES.name,
    )
    digest = onnx_graph.sha256(path)
    parameters = _classifier_parameters(figures, ARCHITECTURES[name].title, digest)
    spec = ModelSpec(name, CLASSIFIER_BATCH, (_CROPS,), (_PROBABILITIES,), parameters)
    triton_config.write(spec, folder)
    cards.write_classifier(folder, figures, ARCHITECTURES[name].title, digest)
    return path


def export_ensemble(*, untrained: bool = False) -> Path:
    """Export the vote, and the ensemble that runs the members side by side and then votes."""
    figures = ClassifierFigures(name=ENSEMBLE) if untrained else ClassifierFigures.read(ENSEMBLE)
    folder = settings().model_repository / VOTE
    path = folder / "1" / "model.onnx"
    onnx_graph.export_vote(path, MEMBERS, len(LEAF_TYPES), figures.temperature)
    digest = onnx_graph.sha256(path)
    classes = (len(LEAF_TYPES),)
    votes = tuple(TensorSpec(member, "TYPE_FP32", classes) for member in MEMBERS)
    vote_parameters = {
        "task": "vote",
        "members": ",".join(MEMBERS),
        "vote_temperature": repr(round(figures.temperature, 6)),
        "sha256": digest,
        "licence": "Apache-2.0",
    }
    triton_config.write(ModelSpec(VOTE, CLASSIFIER_BATCH, votes, (_PROBABILITIES,), vote_parameters), folder)
    cards.write_vote(folder, figures, digest)

    folder = settings().model_repository / ENSEMBLE
    title = "Ensemble of " + " and ".join(MEMBERS)
    parameters = _classifier_parameters(figures, title, digest)
    parameters |= {"members": ",".join(MEMBERS), "vote_temperature": repr(round(figures.temperature, 6))}
    own = {member: f"{member}_probabilities" for member in MEMBERS}
    steps = (
        *(EnsembleStep(m, {_CROPS.name: _CROPS.name}, {_PROBABILITIES.name: own[m]}) for m in MEMBERS),
        EnsembleStep(VOTE, own, {_PROBABILITIES.name: _PROBABILITIES.name}),
    )
    outputs = (_PROBABILITIES, *(TensorSpec(tensor, "TYPE_FP32", classes) for tensor in own.values()))
    triton_config.write(ModelSpec(ENSEMBLE, CLASSIFIER_BATCH, (_CROPS,), outputs, parameters, steps), folder)
    # Triton wants a version folder even where a model has no file, and git keeps no empty folders.
    (folder / "1").mkdir(exist_ok=True)
    (folder / "1" / ".gitkeep").touch()
    cards.write_classifier(folder, figures, title, digest)
    return path


def export_detector(recipe: DetectorRecipe, *, untrained: bool = False) -> Path:
    """Export the detector with raw predictions; suppression is the service's, which has several tiles to merge."""
    figures = DetectorFigures(name=recipe.name) if untrained else DetectorFigures.read(recipe.name)
    folder = settings().model_repository / recipe.name
    path = folder / "1" / "model.onnx"
    onnx_graph.export(
        onnx_graph.ServedDetector(detector.exportable(recipe)),
        path,
        side=detector.INPUT_PX,
        input_name="images",
        output_name="predictions",
    )
    with torch.inference_mode():
        probe = torch.zeros(1, detector.INPUT_PX, detector.INPUT_PX, 3, dtype=torch.uint8).numpy()
        predictions = onnx_graph.run_onnxruntime(path, probe)
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
    images = TensorSpec("images", "TYPE_UINT8", (detector.INPUT_PX, detector.INPUT_PX, 3))
    output = TensorSpec("predictions", "TYPE_FP32", predictions.shape[1:])
    triton_config.write(ModelSpec(recipe.name, DETECTOR_BATCH, (images,), (output,), parameters), folder)
    cards.write_detector(folder, figures, recipe.title, digest)
    return path


def _classifier_parameters(figures: ClassifierFigures, title: str, digest: str) -> dict[str, str]:
    return {
        "task": "classification",
        "title": title,
        "leaf_types": ",".join(LEAF_TYPES),
        "crop_margin": repr(CROP_MARGIN),
        "preprocessing_version": PREPROCESSING_VERSION,
        "identify_threshold": repr(figures.identify_threshold),
        "leaf_threshold": repr(figures.leaf_threshold),
        "temperature": repr(round(figures.temperature, 6)),
        "sha256": digest,
        "licence": "Apache-2.0",
    }
