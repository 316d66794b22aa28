"""What the networks are in arithmetic, and how fast the machine does arithmetic. Ceiling (c).

Multiplications and additions of the convolutions and matrix products in the ONNX files, shapes inferred by ONNX itself,
over the rate at which OpenVINO multiplies large matrices here, in fp32 and in bf16, on one core and on all. No network
reaches it: depthwise convolutions, activations and small layers move bytes, and do little with them.
"""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

SIDE: Final = 2048
"""Of the matrices that are multiplied: 8.6 Gflop, 16 MB each."""

PRECISIONS: Final = ("f32", "bf16")


def gflop(file: Path) -> float:
    """10^9 floating-point operations of a network for one row: 2 for each multiply-add of Conv, Gemm and MatMul."""
    import onnx  # noqa: PLC0415 - a development tool

    network = onnx.load(str(file))
    for port in network.graph.input:
        port.type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(network, strict_mode=True, data_prop=True).graph
    shapes = {
        value.name: tuple(dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim)
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    shapes |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    return sum(_operations(node, shapes) for node in graph.node) / 1e9


def _operations(node: Any, shapes: Mapping[str, tuple[int, ...]]) -> int:
    if node.op_type not in ("Conv", "Gemm", "MatMul"):
        return 0
    told = (node.output[0], *node.input[:2])
    if missing := [name for name in told if name not in shapes]:
        raise ValueError(f"{node.op_type} {node.name}: no shape of {', '.join(missing)}")
    output, first, second = (shapes[name] for name in told)
    if node.op_type == "Conv":
        # A weight is [out channels, in channels of its group, kernel...]: each output takes all but the first.
        return 2 * math.prod(output) * math.prod(second[1:])
    transposed = any(each.name == "transA" and each.i for each in node.attribute)
    return 2 * math.prod(output) * (first[0] if transposed else first[-1])


def products(threads: int) -> Callable[[float], dict[str, float]]:
    """Prepare a process to multiply matrices with so many threads; asked for seconds, it tells Gflop/s by precision."""
    multiply = {precision: _compiled(precision, threads) for precision in _precisions()}

    def act(seconds: float) -> dict[str, float]:
        return {precision: _rate(each, seconds) for precision, each in multiply.items()}

    return act


def _precisions() -> list[str]:
    import openvino  # noqa: PLC0415

    capable = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return [each for each in PRECISIONS if each != "bf16" or "BF16" in capable]


def _compiled(precision: str, threads: int) -> Any:
    import openvino  # noqa: PLC0415
    from openvino import opset13  # noqa: PLC0415

    matrix = np.random.default_rng(0).standard_normal((SIDE, SIDE), np.float32) / SIDE
    given = opset13.parameter([SIDE, SIDE], np.float32)
    product = given
    for _ in range(2):
        # Two in a row: what goes in and comes out as fp32 is converted once for both.
        product = opset13.matmul(product, opset13.constant(matrix), False, False)
    model = openvino.Model([product], [given])
    properties = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "ENABLE_CPU_PINNING": False,
    }
    request = openvino.Core().compile_model(model, "CPU", properties).create_infer_request()
    request.set_input_tensor(openvino.Tensor(np.array(matrix)))
    return request


def _rate(request: Any, seconds: float) -> float:
    request.infer()
    began, times = time.perf_counter(), 0
    while time.perf_counter() < began + seconds:
        request.infer()
        times += 1
    return times * 2 * 2 * SIDE**3 / (time.perf_counter() - began) / 1e9
