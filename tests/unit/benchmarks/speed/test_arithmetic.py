"""How many operations a network is."""

from pathlib import Path

import pytest

from benchmarks.speed.arithmetic import gflop

onnx = pytest.importorskip("onnx")

REPOSITORY = Path(__file__).resolve().parents[4] / "model_repository"


def network(path, nodes, constants, given, answer):
    helper = onnx.helper

    def port(name, dims):
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims)

    tensors = [
        helper.make_tensor(name, onnx.TensorProto.FLOAT, dims, bytes(4 * _size(dims)), raw=True)
        for name, dims in constants.items()
    ]
    graph = helper.make_graph(nodes, "n", [port("x", given)], [port("y", answer)], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def _size(dims):
    size = 1
    for dim in dims:
        size *= dim
    return size


def test_a_convolution_counts_each_output_times_its_kernel_and_the_channels_of_its_group(tmp_path):
    conv = onnx.helper.make_node("Conv", ["x", "w"], ["y"], group=4, pads=[1, 1, 1, 1])
    path = network(
        tmp_path / "a.onnx", [conv], {"w": [8, 2, 3, 3]}, ["batch", 8, 10, 12], ["batch", 8, 10, 12]
    )
    assert gflop(path) == pytest.approx(2 * 8 * 10 * 12 * 2 * 9 / 1e9)


def test_products_count_rows_times_columns_times_what_is_summed(tmp_path):
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "m"], ["h"]),
        onnx.helper.make_node("Relu", ["h"], ["r"]),
        onnx.helper.make_node("Gemm", ["r", "g"], ["y"], transB=1),
    ]
    constants = {"m": [6, 5], "g": [3, 5]}
    path = network(tmp_path / "a.onnx", nodes, constants, ["batch", 6], ["batch", 3])
    assert gflop(path) == pytest.approx(2 * (6 * 5 + 5 * 3) / 1e9)


def test_the_detector_has_what_its_authors_say():
    # Ultralytics: YOLOv8n is 8.7 Gflop at 640 px; at 512 px it is 0.64 of that.
    assert gflop(REPOSITORY / "yolov8n" / "1" / "model.onnx") == pytest.approx(0.64 * 8.7, rel=0.03)
