"""Served networks as ONNX files say what they say in torch and in numpy."""

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("ultralytics")

import torch
from torch import Tensor, nn

from training import onnx_graph
from training.abstention import energy
from training.predict import predict_logits, softmax

SIDE = 16
CLASSES = 11


class Tiny(nn.Module):
    """Logits from the mean and the spread of the standardised pixels."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.head = nn.Linear(3 * SIDE * SIDE // 4, CLASSES)
        self.scale = scale

    def forward(self, pixels: Tensor) -> Tensor:
        return self.scale * self.head(nn.functional.avg_pool2d(pixels, 2).flatten(1))


@pytest.fixture
def pixels():
    return np.random.default_rng(1).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)


# The greatest scale makes logits whose powers no float32 holds.
@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_a_classifier_answers_calibrated_probabilities_and_its_standardised_energy(tmp_path, pixels, scale):
    network = Tiny(scale).eval()
    path = tmp_path / "model.onnx"
    served = onnx_graph.ServedClassifier(network, 1.7, energy_mean=-4.0, energy_deviation=2.5)
    onnx_graph.export(
        served, path, side=SIDE, input_name="crops", output_names=["probabilities", "ood_score"]
    )
    probabilities, ood_score = onnx_graph.run_onnxruntime(path, pixels)
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
