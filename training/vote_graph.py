"""The last step of the ensemble as an ONNX file: it has no weights, only a formula."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_OPSET: Final = 17


def vote_inputs(members: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of the vote's inputs: of the members' probabilities, and of their out-of-distribution scores."""
    return list(members), [f"{member}_ood" for member in members]


def export_vote(path: Path, members: Sequence[str], classes: int, temperature: float) -> None:
    """Write the ensemble's vote: `hemaserve.voting.vote` of the probabilities, and the mean of the members' scores."""
    float_type = TensorProto.FLOAT
    opinions, scores = vote_inputs(members)
    row: list[str | int | None] = ["batch", classes]
    score: list[str | int | None] = ["batch", 1]
    nodes = [
        helper.make_node("Mean", opinions, ["mean"]),
        helper.make_node("ReduceMax", ["mean"], ["greatest"], axes=[1], keepdims=1),
        helper.make_node("Div", ["mean", "greatest"], ["scaled"]),
        helper.make_node("Pow", ["scaled", "exponent"], ["sharpened"]),
        helper.make_node("ReduceSum", ["sharpened", "axes"], ["total"], keepdims=1),
        helper.make_node("Div", ["sharpened", "total"], ["probabilities"]),
        helper.make_node("Mean", scores, ["ood_score"]),
    ]
    graph = helper.make_graph(
        nodes,
        "vote",
        [
            *(helper.make_tensor_value_info(name, float_type, row) for name in opinions),
            *(helper.make_tensor_value_info(name, float_type, score) for name in scores),
        ],
        [
            helper.make_tensor_value_info("probabilities", float_type, row),
            helper.make_tensor_value_info("ood_score", float_type, score),
        ],
        [
            numpy_helper.from_array(np.array(1 / temperature, np.float32), "exponent"),
            numpy_helper.from_array(np.array([1], np.int64), "axes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))
