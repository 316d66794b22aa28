"""The registered networks: shapes, sides, evidence, and the same answers as ONNX files."""

from typing import NamedTuple

import numpy as np
import onnx
import pytest
import torch
from torch.nn import functional

from hemaserve.cells import LEAF_TYPES
from training import onnx_graph
from training.architectures import ARCHITECTURES, NORMALISATIONS, Classifier, build
from training.architectures.classifier import MinMax, Rescale, Standardise
from training.architectures.hybrid import DenseHybrid, GraphLayer
from training.recipes import RECIPES

#: Networks of which this factory also trains the originals of the papers: no recipe of ours has their name.
_OF_PAPERS_ONLY = {"unet_wide", "xception_full"}

_OUTPUTS = ["probabilities", "ood_score", "evidence"]


class Built(NamedTuple):
    name: str
    module: Classifier
    classes: int
    small_px: int
    side_px: int
    storage: str


def _crops(side: int, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    return torch.randint(0, 256, (count, 3, side, side), generator=generator, dtype=torch.uint8)


@pytest.fixture(scope="module", params=sorted(ARCHITECTURES))
def network(request) -> Built:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    recipe = next(
        recipe for recipe in RECIPES.values() if (recipe.architecture or recipe.name) == request.param
    )
    classes = len(recipe.task.classes)
    # Fresh batch statistics: the logits of deep networks are large, so differences are shares of them.
    module = build(request.param, classes, recipe.side_px).eval()
    return Built(request.param, module, classes, recipe.small_px, recipe.side_px, recipe.storage)


def test_every_architecture_is_some_recipes():
    used = {recipe.architecture or recipe.name for recipe in RECIPES.values()}
    assert used == set(ARCHITECTURES)
    assert set(ARCHITECTURES) - set(RECIPES) == _OF_PAPERS_ONLY


@torch.inference_mode()
def test_a_network_answers_one_logit_per_class_at_every_side_that_its_recipe_trains_at(network):
    for side in {network.small_px, network.side_px}:
        logits = network.module(_crops(side))
        assert logits.shape == (2, network.classes)
        assert logits.dtype == torch.float32
        assert logits.isfinite().all()


def test_all_parameters_are_finite_and_few_enough_to_be_committed(network):
    parameters = list(network.module.parameters())
    assert all(parameter.isfinite().all() for parameter in parameters)
    bytes_each = {"fp16": 2, "int8": 1}[network.storage]
    # 45 MB a file.
    if network.name not in _OF_PAPERS_ONLY:
        assert sum(parameter.numel() for parameter in parameters) * bytes_each < 45e6


@torch.inference_mode()
def test_a_crop_gets_the_same_answer_alone_and_among_others(network):
    crops = _crops(network.side_px, count=2)
    torch.testing.assert_close(network.module(crops)[1:2], network.module(crops[1:2]), rtol=1e-4, atol=1e-4)


def test_every_parameter_learns(network):
    network.module.zero_grad()
    network.module(_crops(network.small_px)).square().sum().backward()
    still = [key for key, parameter in network.module.named_parameters() if parameter.grad is None]
    network.module.zero_grad()
    assert still == []


@torch.inference_mode()
def test_evidence_has_a_map_for_every_class_and_comes_with_the_same_logits(network):
    crops = _crops(network.side_px)
    logits, evidence = network.module.explained(crops)
    rows, columns = network.module.features(crops).shape[2:]
    assert evidence.shape == (2, network.classes, rows, columns)
    assert rows == columns > 1
    assert evidence.isfinite().all()
    torch.testing.assert_close(logits, network.module(crops), rtol=1e-4, atol=1e-4)
    # A map that says the same of all places explains nothing.
    assert (evidence.amax(dim=(2, 3)) - evidence.amin(dim=(2, 3)) > 1e-6).any()


@torch.inference_mode()
def test_a_logit_is_the_mean_of_its_evidence_and_the_heads_bias(network):
    logits, evidence = network.module.explained(_crops(network.side_px))
    torch.testing.assert_close(
        evidence.mean(dim=(2, 3)) + network.module.head.bias, logits, rtol=1e-3, atol=1e-3
    )


def test_the_evidence_of_the_dense_hybrid_is_gradient_times_feature_and_its_biases_spread_evenly():
    torch.manual_seed(1)
    module = build("hybrid_dense", 5, 64).eval()
    assert isinstance(module, DenseHybrid)
    features = module.features(_crops(64)).detach().requires_grad_(True)
    logits = module.logits(features)
    evidence = module.evidence(features)
    on = module.dense(features.flatten(1)) > 0
    assert on.any()
    assert not on.all()
    for label in range(5):
        (gradient,) = torch.autograd.grad(logits[:, label].sum(), features, retain_graph=True)
        # Place by place: the mean over the places is the sum of gradient times feature, and of the biases.
        even = (on * module.dense.bias * module.head.weight[label, module.width :]).sum(dim=1)
        left = evidence[:, label] - module.places * (gradient * features).sum(dim=1)
        torch.testing.assert_close(left, even[:, None, None].expand_as(left), rtol=1e-3, atol=1e-4)


@torch.inference_mode()
def test_a_transformers_roll_out_shares_each_token_out_among_the_places():
    torch.manual_seed(0)
    module = build("vit", 11, 96).eval()
    crops = module.normalise(_crops(96))
    # Attention of fresh weights is almost even; of these it is not.
    for block in module.body.blocks:
        block.qkv.weight.mul_(8)
    features, rollout = module.body.rolled_out(crops)
    assert rollout.shape == (2, 36, 36)
    assert (rollout >= 0).all()
    torch.testing.assert_close(rollout.sum(dim=2), torch.ones(2, 36))
    torch.testing.assert_close(features, module.body(crops), rtol=1e-4, atol=1e-4)
    uneven = rollout.std(dim=2)
    assert (uneven > 0.01).any()
    # Gathered from the places, evidence moves but its sum over the tokens stays what the features say.
    _, evidence = module.explained(_crops(96))
    straight = module.evidence(features)
    torch.testing.assert_close(evidence.sum(dim=(2, 3)), straight.sum(dim=(2, 3)), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(evidence, straight, atol=1e-4)


@torch.inference_mode()
def test_nodes_of_the_graph_network_hear_their_nearest_others_and_all_alike():
    torch.manual_seed(0)
    nodes = torch.randn(2, 25, 16)
    edges = GraphLayer(16, neighbours=4).edges(nodes)
    torch.testing.assert_close(edges.sum(dim=2), torch.ones(2, 25))
    assert ((edges > 0).sum(dim=2) == 4).all()
    likeness = functional.cosine_similarity(nodes[:, :, None], nodes[:, None], dim=3)
    heard = torch.where(edges > 0, likeness, torch.inf).amin(dim=2)
    unheard = torch.where(edges > 0, -torch.inf, likeness).amax(dim=2)
    assert (heard >= unheard).all()


def test_the_exported_file_gives_the_answers_of_torch_and_has_the_evidence(network, tmp_path):
    path = tmp_path / "model.onnx"
    side = network.side_px
    served = onnx_graph.ServedClassifier(network.module, 1.3, energy_mean=-4.0, energy_deviation=2.0).eval()
    onnx_graph.export(
        served, path, side=side, input_name="crops", output_names=_OUTPUTS, storage=network.storage
    )
    # What the rounding of the weights explains.
    loose = {"fp16": 0.02, "int8": 0.15}[network.storage]
    pixels = _crops(side).permute(0, 2, 3, 1).contiguous()
    with torch.inference_mode():
        wanted = [part.numpy() for part in served(pixels)]
    found = onnx_graph.run_onnxruntime(path, pixels.numpy())
    assert len(found) == 3
    for name, one, expected in zip(_OUTPUTS, found, wanted, strict=True):
        assert one.shape == expected.shape, name
        largest = max(np.abs(expected).max(), 1.0)
        np.testing.assert_allclose(one, expected, atol=loose * largest, err_msg=name)
    np.testing.assert_allclose(found[0].sum(axis=1), 1, atol=1e-4)
    assert onnx_graph.places(path, "evidence") == wanted[2].shape[2:]
    outputs = onnx.load(str(path)).graph.output
    assert [output.name for output in outputs] == _OUTPUTS


def test_unless_told_otherwise_pixels_are_standardised():
    assert isinstance(build("xception", 11, 96).normalise, Standardise)
    assert isinstance(build("xception", 11, 96, "min-max").normalise, MinMax)
    assert isinstance(build("xception", 11, 96, "rescale").normalise, Rescale)


def test_a_network_that_tells_the_leaf_types_apart_has_an_answer_for_each():
    with torch.inference_mode():
        answer = build("xception", len(LEAF_TYPES), 96).eval()(torch.zeros(1, 3, 96, 96))
    assert answer.shape == (1, len(LEAF_TYPES))


def test_an_unknown_name_is_an_error():
    with pytest.raises(KeyError):
        build("alexnet", 11, 96)
    with pytest.raises(KeyError):
        build("xception", 11, 96, "whiten")


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


@torch.inference_mode()
def test_min_max_stretches_each_image_by_itself_over_0_to_1():
    pixels = _crops(16).float() / 4
    pixels[1] += 100
    stretched = MinMax()(pixels)
    torch.testing.assert_close(stretched.amin(dim=(1, 2, 3)), torch.zeros(2))
    torch.testing.assert_close(stretched.amax(dim=(1, 2, 3)), torch.ones(2))
    torch.testing.assert_close(MinMax()(3 * pixels + 20), stretched, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_rescaling_is_the_same_for_all_images():
    dim = torch.full((1, 3, 4, 4), 51, dtype=torch.uint8)
    torch.testing.assert_close(Rescale()(dim), torch.full((1, 3, 4, 4), 0.2))


@pytest.mark.parametrize("level", [0, 128, 255])
@pytest.mark.parametrize("name", sorted(NORMALISATIONS))
@torch.inference_mode()
def test_an_empty_crop_stays_flat_and_finite(name, level):
    crops = NORMALISATIONS[name]()(torch.full((1, 3, 16, 16), level, dtype=torch.uint8))
    assert crops.dtype == torch.float32
    wanted = level / 255 if name == "rescale" else 0.0
    torch.testing.assert_close(crops, torch.full_like(crops, wanted), rtol=0, atol=1e-3)
