"""From torch modules to the ONNX files that Triton serves: pixels in, probabilities or predictions out."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import onnxslim
import openvino
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from training.architectures import Normalise

OPSET = 17

#: Tensors below this many elements stay in float32: nothing to gain, and their range may matter.
_FP16_MIN_ELEMENTS = 256


class ServedClassifier(nn.Module):
    """uint8 [N, S, S, 3] RGB crops to float32 [N, leaves] calibrated probabilities."""

    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.network = network
        self.temperature = temperature

    def forward(self, crops: Tensor) -> Tensor:
        logits = self.network(self.normalise(crops.permute(0, 3, 1, 2)))
        return torch.softmax(logits / self.temperature, dim=1)


class ServedDetector(nn.Module):
    """uint8 [N, S, S, 3] RGB squares to float32 [N, 4 + kinds, A] in ultralytics' order: centre, size, scores."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        answer = self.network(images.permute(0, 3, 1, 2).float() / 255)
        predictions: Tensor = answer[0] if isinstance(answer, tuple | list) else answer
        return predictions


def export(module: nn.Module, path: Path, *, side: int, input_name: str, output_name: str) -> None:
    """Trace a served module into a slim ONNX file with a dynamic batch axis and weights stored as FP16.

    Raises:
        ValueError: ONNX Runtime's answers differ from torch's by more than FP16 weights explain.
    """
    module.eval().requires_grad_(False)
    example = torch.from_numpy(_example(side, 2))
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # the tracing exporter says that it is old; the new one needs opset 18
        torch.onnx.export(
            module,
            (example,),
            str(path),
            opset_version=OPSET,
            input_names=[input_name],
            output_names=[output_name],
            dynamic_axes={input_name: {0: "batch"}, output_name: {0: "batch"}},
            dynamo=False,
        )
    model = onnxslim.slim(onnx.load(str(path)))
    store_as_fp16(model)
    _name_the_batch(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    check_parity(module, path, side=side)


def export_vote(path: Path, members: Sequence[str], classes: int, temperature: float) -> None:
    """Write the ensemble's vote: p = mean of the members; p ** (1 / temperature), normalised.

    The classifier uses the same formula in numpy where it has to vote over a subset of the members.
    """
    float_type = TensorProto.FLOAT
    shape: list[str | int | None] = ["batch", classes]
    nodes = [
        helper.make_node("Mean", list(members), ["mean"]),
        helper.make_node("Pow", ["mean", "exponent"], ["sharpened"]),
        helper.make_node("ReduceSum", ["sharpened", "axes"], ["total"], keepdims=1),
        helper.make_node("Div", ["sharpened", "total"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "vote",
        [helper.make_tensor_value_info(member, float_type, shape) for member in members],
        [helper.make_tensor_value_info("probabilities", float_type, shape)],
        [
            numpy_helper.from_array(np.array(1 / temperature, np.float32), "exponent"),
            numpy_helper.from_array(np.array([1], np.int64), "axes"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, str(path))


def store_as_fp16(model: onnx.ModelProto) -> None:
    """Store the large float32 weights as float16, each behind a Cast: half the file, computed in float32 as before.

    Runtimes fold the casts when they load the file.
    """
    graph = model.graph
    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        fits = (
            np.issubdtype(values.dtype, np.float32)
            and np.abs(values).max(initial=0) < np.finfo(np.float16).max
        )
        if not fits or values.size < _FP16_MIN_ELEMENTS:
            continue
        full_name, half_name = tensor.name, f"{tensor.name}__fp16"
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), half_name))
        casts.append(helper.make_node("Cast", [half_name], [full_name], to=TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def check_parity(module: nn.Module, path: Path, *, side: int, tolerance: float = 0.02) -> float:
    """Compare ONNX Runtime's and OpenVINO's answers with torch's on random pixels, batches of 1 and 3.

    Returns:
        The largest difference, as a share of the largest answer.

    Raises:
        ValueError: it is above `tolerance`.
    """
    worst = 0.0
    for batch in (1, 3):
        pixels = _example(side, batch)
        with torch.inference_mode():
            expected = module(torch.from_numpy(pixels)).numpy()
        for answer in (run_onnxruntime(path, pixels), _run_openvino(path, pixels)):
            if answer.shape != expected.shape:
                raise ValueError(f"{path}: shape {answer.shape} instead of {expected.shape}")
            worst = max(worst, float(np.abs(answer - expected).max() / np.abs(expected).max()))
    if worst > tolerance:
        raise ValueError(f"{path}: differs from torch by {worst:.4f} of the largest answer")
    return worst


def run_onnxruntime(path: Path, pixels: NDArray[np.uint8], threads: int = 2) -> NDArray[np.float32]:
    """One batch through a single-input ONNX file with ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    answer: NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: pixels})[0]
    return answer


def sha256(path: Path) -> str:
    """The file's digest in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _run_openvino(path: Path, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    compiled = openvino.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.asarray(compiled(pixels)[0])


def _example(side: int, batch: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), dtype=np.uint8)


def _name_the_batch(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
