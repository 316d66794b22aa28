"""From torch modules to the ONNX files that Triton serves: pixels in, probabilities or predictions out."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
import onnxruntime
import onnxslim
import openvino
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from training.architectures import Classifier

OPSET = 17

#: Largest difference from torch that rounded weights explain, see `check_parity`. Random pixels are no cells: networks
#: answer them with less certainty, and their answers move more.
_TOLERANCE: Final = {"fp16": 0.02, "int8": 0.15}

#: Tensors below this many elements stay in float32: nothing to gain, and their range may matter.
_FP16_MIN_ELEMENTS = 256


class ServedClassifier(nn.Module):
    """What serves for one network.

    uint8 [N, S, S, 3] RGB crops to calibrated probabilities float32 [N, leaves], `ood_score` float32 [N, 1] and
    `evidence` float32 [N, leaves, h, w].

    The score is the free energy of the uncalibrated logits, see `training.abstention.energy`, standardised by its mean
    and standard deviation over the calibration crops. The evidence is what each place adds to each logit, see
    `Classifier.explained`.
    """

    def __init__(
        self,
        network: Classifier,
        temperature: float,
        energy_mean: float = 0.0,
        energy_deviation: float = 1.0,
    ) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature
        self.energy_mean = energy_mean
        self.energy_deviation = energy_deviation

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, evidence = self.network.explained(crops.permute(0, 3, 1, 2))
        # Spelt out: as one operator, not every runtime subtracts the greatest before it takes powers.
        greatest = logits.amax(dim=1, keepdim=True)
        energy = -greatest - (logits - greatest).exp().sum(dim=1, keepdim=True).log()
        score = (energy - self.energy_mean) / self.energy_deviation
        return torch.softmax(logits / self.temperature, dim=1), score, evidence


class ServedScreen(nn.Module):
    """uint8 [N, S, S, 3] RGB squares to float32 [N, classes] calibrated probabilities."""

    def __init__(self, network: Classifier, temperature: float) -> None:
        super().__init__()
        self.network = network
        self.temperature = temperature

    def forward(self, images: Tensor) -> Tensor:
        logits = self.network(images.permute(0, 3, 1, 2))
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


def export(
    module: nn.Module,
    path: Path,
    *,
    side: int,
    input_name: str,
    output_names: Sequence[str],
    storage: str = "fp16",
    tolerance: float | None = None,
) -> None:
    """Trace a served module into a slim ONNX file with a dynamic batch axis.

    Args:
        storage: of the large weights: ``fp16``, or ``int8`` with a scale for every output channel. Either way they are
            computed with as float32.
        tolerance: see `check_parity`; default: as such weights explain.

    Raises:
        ValueError: ONNX Runtime's answers differ from torch's by more than such weights explain.
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
            output_names=list(output_names),
            dynamic_axes={name: {0: "batch"} for name in (input_name, *output_names)},
            dynamo=False,
        )
    model = onnxslim.slim(onnx.load(str(path)))
    store_weights(model, storage)
    _name_the_batch(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    check_parity(module, path, side=side, tolerance=tolerance or _TOLERANCE[storage])


def store_weights(model: onnx.ModelProto, storage: str = "fp16") -> None:
    """Store the large float32 weights in fewer bytes, behind nodes that make float32 of them again.

    Runtimes fold the casts when they load the file; of INT8 weights, OpenVINO restores the larger ones in each run. A
    weight that float16 cannot hold stays as it is.

    Args:
        storage: ``fp16``, or ``int8`` for those that have two axes or more and float16 for the others.
    """
    graph = model.graph
    channel_axes = _output_channels(graph)
    restored: list[onnx.NodeProto] = []
    added: list[onnx.TensorProto] = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        fits = (
            np.issubdtype(values.dtype, np.float32)
            and np.abs(values).max(initial=0) < np.finfo(np.float16).max
        )
        if not fits or values.size < _FP16_MIN_ELEMENTS:
            continue
        name = tensor.name
        if storage == "int8" and name in channel_axes:
            axes = tuple(axis for axis in range(values.ndim) if axis != channel_axes[name] % values.ndim)
            scale = np.maximum(np.abs(values).max(axis=axes, keepdims=True) / 127, np.finfo(np.float32).tiny)
            tensor.CopyFrom(numpy_helper.from_array(np.rint(values / scale).astype(np.int8), f"{name}__int8"))
            added.append(numpy_helper.from_array(scale.astype(np.float32), f"{name}__scale"))
            restored.append(
                helper.make_node("Cast", [f"{name}__int8"], [f"{name}__float"], to=TensorProto.FLOAT)
            )
            restored.append(helper.make_node("Mul", [f"{name}__float", f"{name}__scale"], [name]))
        else:
            tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), f"{name}__fp16"))
            restored.append(helper.make_node("Cast", [f"{name}__fp16"], [name], to=TensorProto.FLOAT))
    graph.initializer.extend(added)
    nodes = [*restored, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _output_channels(graph: onnx.GraphProto) -> dict[str, int]:
    """The axis of the output channels of each weight of a convolution or a product, by the weight's name."""
    axes = {}
    for node in graph.node:
        if node.op_type == "Conv":
            axes[node.input[1]] = 0
        elif node.op_type == "Gemm":
            transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
            axes[node.input[1]] = 0 if transposed else 1
        elif node.op_type == "MatMul":
            axes[node.input[1]] = -1
    return axes


def check_parity(module: nn.Module, path: Path, *, side: int, tolerance: float = 0.02) -> float:
    """Compare ONNX Runtime's and OpenVINO's answers with torch's on random pixels, batches of 1 and 3.

    Returns:
        The largest difference of any output, as a share of that output's largest value, or of 1 where that is more.

    Raises:
        ValueError: it is above `tolerance`.
    """
    worst = 0.0
    for batch in (1, 3):
        pixels = _example(side, batch)
        with torch.inference_mode():
            answer = module(torch.from_numpy(pixels))
        expected = [part.numpy() for part in (answer if isinstance(answer, tuple) else (answer,))]
        for found in (run_onnxruntime(path, pixels), _run_openvino(path, pixels)):
            for one, wanted in zip(found, expected, strict=True):
                if one.shape != wanted.shape:
                    raise ValueError(f"{path}: shape {one.shape} instead of {wanted.shape}")
                worst = max(worst, float(np.abs(one - wanted).max() / max(np.abs(wanted).max(), 1.0)))
    if worst > tolerance:
        raise ValueError(f"{path}: differs from torch by {worst:.4f} of the largest answer")
    return worst


def run_onnxruntime(path: Path, pixels: NDArray[np.uint8], threads: int = 2) -> list[NDArray[np.float32]]:
    """The outputs, in their order, of one batch through a single-input ONNX file with ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    answers: list[NDArray[np.float32]] = session.run(None, {session.get_inputs()[0].name: pixels})
    return answers


def places(path: Path, output: str) -> tuple[int, int]:
    """Rows and columns of an output [N, classes, rows, columns] of an ONNX file."""
    pixels = _example(_side(path), 1)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (answer,) = session.run([output], {session.get_inputs()[0].name: pixels})
    return answer.shape[2], answer.shape[3]


def _side(path: Path) -> int:
    (image,) = onnx.load(str(path)).graph.input
    return int(image.type.tensor_type.shape.dim[1].dim_value)


def sha256(path: Path) -> str:
    """The file's digest in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _run_openvino(path: Path, pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    compiled = openvino.compile_model(str(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [np.asarray(answer) for answer in compiled(pixels).values()]


def _example(side: int, batch: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), dtype=np.uint8)


def _name_the_batch(model: onnx.ModelProto) -> None:
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
