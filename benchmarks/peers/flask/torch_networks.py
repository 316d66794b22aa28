"""The networks in PyTorch, eager and in float32, converted from the same ONNX files by onnx2torch."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from benchmarks.peers.description import Description
from benchmarks.peers.pipeline import Opinion
from hemaserve.geometry import FloatArray
from hemaserve.imaging import RgbImage
from training.torchvision_shim import install

install()

from onnx2torch import convert  # noqa: E402 - imports torchvision


class TorchNetworks:
    """Networks for any number of callers, each with so many threads."""

    def __init__(self, description: Description, *, threads: int) -> None:
        torch.set_num_threads(threads)
        self._detector = _module(description.detector.file)
        self._members = [_module(file) for file in description.ensemble.files]

    def detect(self, squares: RgbImage) -> FloatArray:
        """See `pipeline.Networks`."""
        with torch.inference_mode():
            return np.asarray(self._detector(torch.from_numpy(squares)).numpy())

    def classify(self, crops: RgbImage) -> list[Opinion]:
        """See `pipeline.Networks`."""
        with torch.inference_mode():
            answers = [member(torch.from_numpy(crops)) for member in self._members]
        return [Opinion(probabilities.numpy(), score.numpy()) for probabilities, score, *_ in answers]


def _module(file: str) -> Any:
    return convert(widened(onnx.load(Path(file)))).eval()


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its float16 weights as float32, instead of a Cast each, which onnx2torch does not look through."""
    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    kept = []
    for node in graph.node:
        weight = weights.get(node.input[0]) if node.op_type == "Cast" else None
        if weight is None:
            kept.append(node)
            continue
        wide = numpy_helper.to_array(weight).astype(helper.tensor_dtype_to_np_dtype(node.attribute[0].i))
        graph.initializer.append(numpy_helper.from_array(wide, node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)
    return model
