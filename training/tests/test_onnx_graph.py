"""Served networks as ONNX files say what they say in torch and in numpy."""

import numpy as np
import onnx
import onnxruntime
import pytest

pytest.importorskip("torch")
pytest.importorskip("ultralytics")

import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from training import onnx_graph
from training.abstention import energy
from training.architectures import Classifier
from training.predict import predict_exported, predict_logits, softmax

SIDE = 16
CLASSES = 11


OUTPUTS = ["probabilities", "ood_score", "evidence"]


class Tiny(Classifier):
    """Logits from the means of a few features, times a scale."""

    def __init__(self, scale: float) -> None:
        torch.manual_seed(3)
        super().__init__(nn.Sequential(nn.Conv2d(3, 64, 3, stride=2, padding=1), nn.ReLU()), 64, CLASSES)
        self.head.weight.data *= 3 * scale
        self.head.bias.data *= 3 * scale


@pytest.fixture
def pixels():
    return np.random.default_rng(1).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)


# The greatest scale makes logits whose powers no float32 holds.
@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_a_classifier_answers_calibrated_probabilities_and_its_standardised_energy(tmp_path, pixels, scale):
    network = Tiny(scale).eval()
    path = tmp_path / "model.onnx"
    served = onnx_graph.ServedClassifier(network, 1.7, energy_mean=-4.0, energy_deviation=2.5)
    onnx_graph.export(served, path, side=SIDE, input_name="crops", output_names=OUTPUTS)
    probabilities, ood_score, evidence = onnx_graph.run_onnxruntime(path, pixels)
    assert evidence.shape == (5, CLASSES, SIDE // 2, SIDE // 2)
    assert onnx_graph.places(path, "evidence") == (SIDE // 2, SIDE // 2)
    logits = predict_logits(network, pixels)
    wanted = (energy(logits) + 4) / 2.5
    assert ood_score.shape == (5, 1)
    # The weights are stored as FP16, which moves logits by a share of their size.
    np.testing.assert_allclose(ood_score[:, 0], wanted, rtol=5e-3, atol=5e-3 * np.abs(logits).max())
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    if scale == 1.0:
        np.testing.assert_allclose(probabilities, softmax(logits, 1.7), atol=5e-3)


def test_a_screen_answers_probabilities_alone(tmp_path, pixels):
    network = Tiny(1.0).eval()
    path = tmp_path / "model.onnx"
    served = onnx_graph.ServedScreen(network, 0.5)
    onnx_graph.export(served, path, side=SIDE, input_name="fields", output_names=["probabilities"])
    (probabilities,) = onnx_graph.run_onnxruntime(path, pixels)
    np.testing.assert_allclose(probabilities, softmax(predict_logits(network, pixels), 0.5), atol=5e-3)


def test_an_answer_that_is_not_the_networks_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    served = onnx_graph.ServedScreen(Tiny(1.0).eval(), 0.5)
    onnx_graph.export(served, path, side=SIDE, input_name="fields", output_names=["probabilities"])
    other = onnx_graph.ServedScreen(Tiny(-1.0).eval(), 0.5)
    with pytest.raises(ValueError, match="differs from torch"):
        onnx_graph.check_parity(other, path, side=SIDE)


def test_an_exported_file_is_asked_in_batches_of_its_own(tmp_path, monkeypatch, pixels):
    monkeypatch.setattr("training.predict._BATCH", 2)
    network = Tiny(1.0).eval()
    path = tmp_path / "model.onnx"
    served = onnx_graph.ServedClassifier(network, 1.7, energy_mean=-4.0, energy_deviation=2.5)
    onnx_graph.export(served, path, side=SIDE, input_name="crops", output_names=OUTPUTS)
    probabilities, scores = predict_exported(path, pixels)
    assert probabilities.shape == (5, CLASSES)
    assert scores.shape == (5,)
    logits = predict_logits(network, pixels)
    np.testing.assert_allclose(probabilities, softmax(logits, 1.7), atol=5e-3)
    np.testing.assert_allclose(scores, (energy(logits) + 4) / 2.5, atol=0.02)


def test_a_file_that_does_not_exist_is_named(tmp_path, pixels):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.onnx does not exist"):
        predict_exported(tmp_path / "nowhere.onnx", pixels)


def test_int8_takes_half_of_fp16_and_answers_alike(tmp_path, pixels):
    torch.manual_seed(5)
    body = nn.Sequential(
        nn.Conv2d(3, 128, 3, stride=2), nn.ReLU(), nn.Conv2d(128, 256, 3, stride=2), nn.ReLU()
    )
    network = Classifier(body, 256, CLASSES).eval()
    served = onnx_graph.ServedClassifier(network, 1.0)
    paths = {storage: tmp_path / f"{storage}.onnx" for storage in ("fp16", "int8")}
    for storage, path in paths.items():
        onnx_graph.export(served, path, side=SIDE, input_name="crops", output_names=OUTPUTS, storage=storage)
    share = paths["int8"].stat().st_size / paths["fp16"].stat().st_size
    assert 0.48 < share < 0.56
    wanted = softmax(predict_logits(network, pixels))
    for path, atol in ((paths["fp16"], 1e-3), (paths["int8"], 0.01)):
        np.testing.assert_allclose(predict_exported(path, pixels)[0], wanted, atol=atol)
    types = {tensor.data_type for tensor in onnx.load(str(paths["int8"])).graph.initializer}
    assert TensorProto.INT8 in types


def _product(kind: str, weights: np.ndarray) -> onnx.ModelProto:
    """One convolution or product by `weights` [outputs, inputs], stored as that operator stores them."""
    outputs, inputs = weights.shape
    shape, stored, attributes = [1, inputs], weights, {}
    if kind == "Conv":
        shape, stored = [1, inputs, 1, 1], weights[:, :, None, None]
    elif kind == "Gemm transposed":
        attributes = {"transB": 1}
    else:
        stored = weights.T
    node = helper.make_node(kind.split(maxsplit=1)[0], ["x", "w"], ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, outputs, *shape[2:]])],
        [numpy_helper.from_array(np.ascontiguousarray(stored, np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _weights_of(model: onnx.ModelProto, kind: str) -> np.ndarray:
    """The weights [outputs, inputs] that the graph computes with: its answers to the unit vectors."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()[0].shape[1]
    columns = []
    for unit in np.eye(inputs, dtype=np.float32):
        x = unit[None, :, None, None] if kind == "Conv" else unit[None]
        columns.append(session.run(None, {"x": x})[0].reshape(-1))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("kind", ["Conv", "Gemm", "Gemm transposed", "MatMul"])
@pytest.mark.parametrize(("outputs", "inputs", "seed"), [(12, 24, 1), (24, 12, 2), (17, 17, 3), (300, 1, 4)])
def test_int8_weights_are_right_to_half_a_step_of_their_own_output_channel(kind, outputs, inputs, seed):
    random = np.random.default_rng(seed)
    # Channels of very different sizes, and one of nothing but zeros: a common scale would lose the small ones.
    sizes = 10.0 ** random.uniform(-4, 3, outputs)
    sizes[0] = 0.0
    weights = (random.normal(size=(outputs, inputs)) * sizes[:, None]).astype(np.float32)
    model = _product(kind, weights)
    onnx_graph.store_weights(model, "int8")
    onnx.checker.check_model(model, full_check=True)
    scale = next(tensor for tensor in model.graph.initializer if tensor.name == "w__scale")
    assert numpy_helper.to_array(scale).size == outputs
    found = _weights_of(model, kind)
    step = np.abs(weights).max(axis=1, keepdims=True) / 127
    assert (np.abs(found - weights) <= 0.501 * step + 1e-12).all()
    assert not found[0].any()


@pytest.mark.parametrize("storage", ["fp16", "int8"])
def test_small_weights_and_those_that_float16_cannot_hold_stay_as_they_are(storage):
    small, large = np.full((4, 4), 0.1, np.float32), np.full((20, 20), 1e6, np.float32)
    for weights in (small, large):
        model = _product("MatMul", weights)
        onnx_graph.store_weights(model, storage)
        np.testing.assert_array_equal(_weights_of(model, "MatMul"), weights)
        assert [tensor.data_type for tensor in model.graph.initializer] == [TensorProto.FLOAT]
