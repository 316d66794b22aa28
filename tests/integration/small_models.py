"""Writes models of a few nodes into a repository, for a real Triton to serve."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")

ITS_SHA256 = "<its SHA-256>"
"""In a configuration: the digest of the model's own file."""

Port = tuple[str, str, list[int | str]]
"""Name, ONNX type, dims."""


def write_model(
    repository: Path,
    name: str,
    config: str,
    *,
    nodes: list = (),
    inputs: list[Port] = (),
    outputs: list[Port] = (),
    constants: dict[str, np.ndarray] | None = None,
) -> None:
    """One folder of a model repository; without `nodes` it has a version folder and no network."""
    version = repository / name / "1"
    version.mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(config)
    if not nodes:
        return

    def info(port: Port):
        return onnx.helper.make_tensor_value_info(port[0], getattr(onnx.TensorProto, port[1]), port[2])

    graph = onnx.helper.make_graph(
        nodes,
        name,
        [info(port) for port in inputs],
        [info(port) for port in outputs],
        [onnx.numpy_helper.from_array(array, key) for key, array in (constants or {}).items()],
    )
    network = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(network)
    onnx.save(network, version / "model.onnx")
    digest = hashlib.sha256((version / "model.onnx").read_bytes()).hexdigest()
    (repository / name / "config.pbtxt").write_text(config.replace(ITS_SHA256, digest))


def tensor_config(inputs: str, outputs: str, more: str = "", *, max_batch_size: int = 8) -> str:
    return f"""
backend: "onnxruntime"
max_batch_size: {max_batch_size}
input [{inputs}]
output [{outputs}]
{more}
"""
