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

from training.architectures import Standardise

OPSET = 17

#: Tensors below this many elements stay in float32: nothing to gain, and their range may matter.
_FP16_MIN_ELEMENTS = 256


class ServedClassifier(nn.Module):
    """uint8 [N, S, S, 3] RGB crops to calibrated probabilities float32 [N, leaves] and `ood_score` float32 [N, 1].

    The score is the free energy of the uncalibrated logits, see `training.abstention.energy`, standardised by its mean
    and standard deviation over the calibration crops.
    """

    def __init__(
        self,
        network: nn.Module,
        temperature: float,
        energy_mean: float = 0.0,
        energy_deviation: float = 1.0,
    ) -> None:
        super().__init__()
        self.normalise = Standardise()
        self.network = network
        self.temperature = temperature
        self.energy_mean = energy_mean
        self.energy_deviation = energy_deviation

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(self.normalise(crops.permute(0, 3, 1, 2)))
        # Spelt out: as one operator, not every runtime subtracts the greatest before it takes powers.
        greatest = logits.amax(dim=1, keepdim=True)
        energy = -greatest - (logits - greatest).exp().sum(dim=1, keepdim=True).log()
        score = (energy - self.energy_mean) / self.energy_deviation
        return torch.softmax(logits / self.temperature, dim=1), score


class ServedScreen(nn.Module):
    """uint8 [N, S, S, 3] RGB squares to float32 [N, classes] calibrated probabilities."""

    def __init__(self, network: nn.Module, temperature: float) -> None:
        super().__init__()
        self.normalise = Standardise()
        self.network = network
        self.temperature = temperature

    def forward(self, images: Tensor) -> Tensor:
        logits = self.network(self.normalise(images.permute(0, 3, 1, 2)))
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


def export(module: nn.Module, path: Path, *, side: int, input_name: str, output_names: Sequence[str]) -> None:
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
            output_names=list(output_names),
            dynamic_axes={name: {0: "batch"} for name in (input_name, *output_names)},
            dynamo=False,
        )
    model = onnxslim.slim(onnx.load(str(path)))
    store_as_fp16(model)
    _name_the_batch(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    check_parity(module, path, side=side)


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
