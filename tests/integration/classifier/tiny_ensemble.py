"""A model repository of tiny classifiers, written by the code that exports the real ones."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from hemaserve.cells import LEAF_TYPES
from training import triton_config
from training.classifier_specs import CropSpec, ensemble_spec, network_spec, vote_spec
from training.ensemble import Ensemble, proper_subsets, subset_name
from training.results import CalibrationFigures, ClassifierFigures
from training.vote_graph import export_vote

CROPS = CropSpec(96, 0.15)
LEAVES = len(LEAF_TYPES)


def calibration(members: Sequence[str]) -> dict[str, float]:
    """Numbers by which each choice of members is told from the others."""
    size = len("".join(members))
    return {
        "temperature": 0.5 + size / 50,
        "identify_threshold": 0.2 + size / 200,
        "ood_limit": size / 100 - 10,
        "disagreement_limit": 0.05 + size / 500,
    }


def write_repository(folder: Path, members: Sequence[str]) -> None:
    """Networks named `members`, their vote and their ensemble, calibrated for every subset."""
    for seed, member in enumerate(members):
        path = folder / member / "1" / "model.onnx"
        _write_network(path, seed)
        own = {**calibration([member]), "disagreement_limit": None}
        figures = ClassifierFigures(name=member, **own)
        triton_config.write(
            network_spec(figures, f"A tiny {member}", sha256(path), CROPS, (1, 1)), folder / member
        )
    subsets = {
        subset_name(subset): CalibrationFigures(**calibration(subset)) for subset in proper_subsets(members)
    }
    ensemble = Ensemble("ensemble", "vote", tuple(members))
    figures = ClassifierFigures(name=ensemble.name, subsets=subsets, **calibration(members))
    path = folder / ensemble.vote / "1" / "model.onnx"
    export_vote(path, members, LEAVES, figures.temperature)
    triton_config.write(vote_spec(figures, ensemble, sha256(path)), folder / ensemble.vote)
    triton_config.write(ensemble_spec(figures, ensemble, sha256(path), CROPS), folder / ensemble.name)
    (folder / ensemble.name / "1").mkdir()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _write_network(path: Path, seed: int) -> None:
    """Logits from a crop's mean colour; their softmax, their free energy as the score, and one place as evidence."""
    random = np.random.default_rng(seed)
    constants = {
        "weights": random.normal(size=(3, LEAVES)).astype(np.float32) / 20,
        "axes": np.array([1]),
        "places": np.array([2, 3]),
        "bias": random.normal(size=LEAVES).astype(np.float32),
    }
    nodes = [
        helper.make_node("Cast", ["crops"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels"], ["colour"], axes=[1, 2], keepdims=0),
        helper.make_node("Gemm", ["colour", "weights", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ReduceMax", ["logits"], ["greatest"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["logits", "greatest"], ["below"]),
        helper.make_node("Exp", ["below"], ["powers"]),
        helper.make_node("ReduceSum", ["powers", "axes"], ["sum"], keepdims=1),
        helper.make_node("Log", ["sum"], ["rest"]),
        helper.make_node("Add", ["greatest", "rest"], ["energy"]),
        helper.make_node("Neg", ["energy"], ["ood_score"]),
        helper.make_node("Unsqueeze", ["logits", "places"], ["evidence"]),
    ]
    side = CROPS.size
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("crops", TensorProto.UINT8, ["batch", side, side, 3])],
        [
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", LEAVES]),
            helper.make_tensor_value_info("ood_score", TensorProto.FLOAT, ["batch", 1]),
            helper.make_tensor_value_info("evidence", TensorProto.FLOAT, ["batch", LEAVES, 1, 1]),
        ],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True)
    onnx.save(model, str(path))
