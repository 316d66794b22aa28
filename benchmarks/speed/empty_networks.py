"""Networks that do nothing, in the place of the default profile's: what is left is what everything else costs.

The same names, inputs, outputs and configurations; but whatever they are shown, the detector answers that it saw the
same few cells, and the classifiers that each is a lymphocyte.
"""

import hashlib
import re
import shutil
from pathlib import Path
from typing import Any, Final

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from benchmarks.speed.networks import DETECTOR, ENSEMBLE, VOTE, members, onnx_file
from services.triton.client import Array

RED_CELLS: Final = 20
SIDE_SHARE: Final = 0.215
"""Longer side of each box, as a share of the network's input: that of red cells in training, so that a field of one
piece is left at that."""

MOST_CELLS: Final = 64
OPSET: Final = 17
IR_VERSION: Final = 8


def write(folder: Path, repository: Path, *, cells: int) -> Path:
    """A repository in `folder`, made after another.

    Args:
        cells: white cells that every field has; at most `MOST_CELLS`.
    """
    for name in (ENSEMBLE, DETECTOR, *members(repository), VOTE):
        shutil.copytree(repository / name, folder / name)
        if name == ENSEMBLE:
            continue
        config = text_format.Parse(
            (folder / name / "config.pbtxt").read_text(encoding="utf-8"), model_config_pb2.ModelConfig()
        )
        file = onnx_file(folder, name)
        _write_network(file, config, cells)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        for told in (folder / name).glob("**/*.pbtxt"):
            before = told.read_text(encoding="utf-8")
            told.write_text(
                re.sub(r'(key: "sha256" value: \{ string_value: ")[0-9a-f]{64}', rf"\g<1>{digest}", before),
                encoding="utf-8",
            )
    return folder


def _write_network(file: Path, config: Any, cells: int) -> None:
    import onnx  # noqa: PLC0415 - a development tool
    from onnx import TensorProto, helper, numpy_helper  # noqa: PLC0415

    types = {"TYPE_UINT8": TensorProto.UINT8, "TYPE_FP32": TensorProto.FLOAT}

    def ports(entries: Any) -> list[Any]:
        return [
            helper.make_tensor_value_info(
                entry.name,
                types[model_config_pb2.DataType.Name(entry.data_type)],
                ["batch", *map(int, entry.dims)],
            )
            for entry in entries
        ]

    nodes = [
        helper.make_node("Shape", [config.input[0].name], ["shape"], start=0, end=1),
    ]
    constants = []
    for entry in config.output:
        answer = _answer(entry.name, tuple(map(int, entry.dims)), int(config.input[0].dims[0]), cells)
        constants += [
            numpy_helper.from_array(answer[None], f"{entry.name}_answer"),
            numpy_helper.from_array(np.array(answer.shape, np.int64), f"{entry.name}_dims"),
        ]
        nodes += [
            helper.make_node("Concat", ["shape", f"{entry.name}_dims"], [f"{entry.name}_shape"], axis=0),
            helper.make_node("Expand", [f"{entry.name}_answer", f"{entry.name}_shape"], [entry.name]),
        ]
    graph = helper.make_graph(nodes, config.name, ports(config.input), ports(config.output), constants)
    network = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(network)
    onnx.save(network, file)


def _answer(output: str, dims: tuple[int, ...], side: int, cells: int) -> Array:
    """What is always answered, float32 of the output's dims; `side` is that of the network's input."""
    answer = np.zeros(dims, np.float32)
    if output == "predictions":
        # Rows: cx, cy, w, h in the network's pixels, then scores of wbc, rbc, platelet.
        for kind, count in ((0, cells), (1, RED_CELLS)):
            a_row = int(np.ceil(np.sqrt(count))) or 1
            for number in range(count):
                anchor = kind * MOST_CELLS + number
                center = [(number % a_row + 0.5) / a_row * side, (number // a_row + 0.5) / a_row * side]
                answer[:4, anchor] = [*center, SIDE_SHARE * side, SIDE_SHARE * side]
                answer[4 + kind, anchor] = 0.9
    elif output == "probabilities":
        answer[2] = 1.0
    elif output == "ood_score":
        answer[:] = 1.0
    return answer
