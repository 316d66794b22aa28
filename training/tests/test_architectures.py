"""The registered networks: shapes, sides, and the same answers as ONNX files."""

import numpy as np
import pytest
import torch

from hemaserve.cells import LEAF_TYPES
from training import onnx_graph
from training.architectures import ARCHITECTURES, Standardise, build
from training.recipes import RECIPES


def _crops(side: int, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def network(request) -> tuple[str, torch.nn.Module]:
    torch.manual_seed(0)
    recipe = RECIPES[request.param]
    return request.param, build(request.param, len(recipe.task.classes)).eval()


def test_there_is_a_recipe_for_every_architecture():
    assert set(ARCHITECTURES) <= set(RECIPES)


@torch.inference_mode()
def test_a_network_answers_one_logit_per_class_at_every_side_that_its_recipe_trains_at(network):
    name, module = network
    recipe = RECIPES[name]
    for side in {recipe.small_px, recipe.side_px}:
        logits = module(Standardise()(_crops(side)))
        assert logits.shape == (2, len(recipe.task.classes))
        assert logits.dtype == torch.float32
        assert logits.isfinite().all()


def test_all_parameters_are_finite_and_few_enough_to_be_committed(network):
    _, module = network
    assert all(parameter.isfinite().all() for parameter in module.parameters())
    # 45 MB a file, stored as FP16.
    assert sum(parameter.numel() for parameter in module.parameters()) * 2 < 45e6


@torch.inference_mode()
def test_a_crop_gets_the_same_answer_alone_and_among_others(network):
    name, module = network
    crops = Standardise()(_crops(RECIPES[name].side_px, count=3))
    torch.testing.assert_close(module(crops)[1:2], module(crops[1:2]), rtol=0, atol=1e-4)


def test_every_parameter_learns(network):
    name, module = network
    crops = Standardise()(_crops(RECIPES[name].small_px))
    module.zero_grad()
    module(crops).square().sum().backward()
    still = [key for key, parameter in module.named_parameters() if parameter.grad is None]
    module.zero_grad()
    assert still == []


def test_the_exported_file_gives_the_answers_of_torch(network, tmp_path):
    name, module = network
    side = RECIPES[name].side_px
    path = tmp_path / "model.onnx"
    served = onnx_graph.ServedClassifier(module, 1.3, energy_mean=-4.0, energy_deviation=2.0).eval()
    onnx_graph.export(
        served, path, side=side, input_name="crops", output_names=["probabilities", "ood_score"]
    )
    pixels = _crops(side, count=3).permute(0, 2, 3, 1).contiguous()
    with torch.inference_mode():
        probabilities, score = (part.numpy() for part in served(pixels))
    found, found_score = onnx_graph.run_onnxruntime(path, pixels.numpy())
    # Weights are stored as FP16.
    np.testing.assert_allclose(found, probabilities, atol=0.01)
    np.testing.assert_allclose(found_score, score, atol=0.02)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-4)


def test_unless_told_otherwise_a_network_tells_the_leaf_types_apart():
    with torch.inference_mode():
        assert build("xception").eval()(torch.zeros(1, 3, 96, 96)).shape == (1, len(LEAF_TYPES))


def test_an_unknown_name_is_an_error():
    with pytest.raises(KeyError):
        build("alexnet")


@torch.inference_mode()
def test_standardised_crops_have_no_mean_and_the_same_spread():
    crops = Standardise()(_crops(32))
    torch.testing.assert_close(crops.mean(dim=(2, 3)), torch.zeros(2, 3), rtol=0, atol=1e-4)
    assert ((crops.std(dim=(2, 3)) > 0.8) & (crops.std(dim=(2, 3)) <= 1.01)).all()


@torch.inference_mode()
def test_standardising_cancels_the_colour_of_the_light():
    pixels = _crops(32).float().clamp(min=40)
    # A dimmer, bluer lamp takes a share of each channel's light, but for the camera's dark level.
    lamp = torch.tensor([0.6, 0.8, 0.95])[None, :, None, None]
    tinted = (pixels + 8) * lamp - 8
    torch.testing.assert_close(Standardise()(tinted), Standardise()(pixels), rtol=0, atol=1e-3)


@pytest.mark.parametrize("level", [0, 128, 255])
@torch.inference_mode()
def test_an_empty_crop_stays_flat_and_finite(level):
    crops = Standardise()(torch.full((1, 3, 16, 16), level, dtype=torch.uint8))
    torch.testing.assert_close(crops, torch.zeros_like(crops), rtol=0, atol=1e-3)
