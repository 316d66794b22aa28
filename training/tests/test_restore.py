"""A network had back from its exported file says what it said, and goes on learning from there."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from training import onnx_graph
from training.architectures import build
from training.checkpoints import checkpoint_path, stored
from training.crops import CropSet
from training.recipes import Recipe
from training.restore import read_weights, restore, unfold
from training.results import ClassifierFigures, TrainingRun, describe_recipe
from training.tasks import Lesson, Task
from training.trainer import train

SIDE, CLASSES = 64, 5


def _views(count=3):
    """Batches of patterns of several sizes: of one alone a network makes hardly any difference."""
    generator = torch.Generator().manual_seed(2)
    patterns = [torch.rand(count, 3, 3, side, side, generator=generator) * 255 for side in (4, 8, 16)]
    return [
        torch.cat([nn.functional.interpolate(one, SIDE, mode="bilinear") for one in batch])
        for batch in zip(*patterns, strict=True)
    ]


def _difference(said, says):
    """Root mean square, as a share of what the answers differ from each other by."""
    return float((says - said).square().mean().sqrt() / said.std(dim=0).mean())


def _trained(architecture):
    """As training leaves it: nothing is 0 or 1."""
    torch.manual_seed(1)
    network = build(architecture, CLASSES, SIDE)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.momentum = None
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):  # the export would keep one for all that are alike
                parameter.add_(0.1 * torch.randn_like(parameter))
        network.train()
        for views in _views():
            network(views)
    return network.eval()


def _exported(architecture, folder):
    """A network, and its exported file."""
    network = _trained(architecture)
    path = folder / "1" / "model.onnx"
    onnx_graph.export(
        onnx_graph.ServedClassifier(network, 1.0),
        path,
        side=SIDE,
        input_name="crops",
        output_names=["probabilities", "ood_score", "evidence"],
        tolerance=np.inf,  # noise asks too much of a network that has not learned
    )
    return network, path


@pytest.fixture(scope="module", params=["unet", "efficientnet_b0", "squeezenet", "hybrid_dense"])
def exported(request, tmp_path_factory):
    """A name, a network, and its exported file."""
    return request.param, *_exported(request.param, tmp_path_factory.mktemp(request.param))


def test_it_says_the_same_and_its_normalisations_normalise_again(exported):
    name, network, path = exported
    torch.manual_seed(3)
    restored = build(name, CLASSES, SIDE)
    views = _views()
    folded = read_weights(restored, path, views[0])
    with torch.no_grad():
        said = network(torch.cat(views))
        assert _difference(said, restored.eval()(torch.cat(views))) < 0.02
        unfold(restored, folded, views)
        assert _difference(said, restored.eval()(torch.cat(views))) < 0.02
        # So too with the statistics of the batch, as in training.
        for _, norm in folded:
            norm.train()
        assert _difference(said, restored(torch.cat(views))) < 0.05


def test_a_file_of_another_network_is_refused(exported):
    name, _, path = exported
    other = "efficientnet_b0" if name != "efficientnet_b0" else "unet"
    with pytest.raises(ValueError, match=r"folded|has no|shape"):
        read_weights(build(other, CLASSES, SIDE), path, _views(1)[0])
    with pytest.raises(ValueError, match=r"head\.\w+ has shape"):
        read_weights(build(name, CLASSES + 1, SIDE), path, _views(1)[0])


def _crops(count: int, side: int = SIDE) -> CropSet:
    generator = np.random.default_rng(count)
    labels = np.eye(CLASSES, dtype=bool)[np.arange(count) % CLASSES]
    return CropSet(generator.integers(0, 256, (count, side, side, 3), np.uint8), labels)


_TASK = Task(
    tuple("abcde"),
    np.eye(CLASSES, dtype=np.float32),
    1.5,
    lambda side: Lesson(_crops(16, side * 3 // 2), None, _crops(10, side)),
    _crops,
)
_RECIPE = Recipe("squeezenet", 2, small_px=SIDE, side_px=SIDE, joint_epochs=1, task=_TASK, batch=8)


@pytest.fixture
def served(place):
    """The file and the figures of a network as they are committed, after the three epochs of its recipe."""
    network, _ = _exported(_RECIPE.name, place.model_repository / _RECIPE.name)
    run = TrainingRun(epochs=3, seconds=60.0, recipe=describe_recipe(_RECIPE))
    ClassifierFigures(name=_RECIPE.name, training=run).write()
    return network


def test_training_goes_on_after_the_epochs_that_the_file_has_behind_it(served):
    recipe = _RECIPE
    restore(recipe)
    restored = recipe.build()
    restored.load_state_dict(stored(recipe.name)["average"])
    pixels = _views(1)[0]
    with torch.no_grad():
        assert _difference(served(pixels), restored.eval()(pixels)) < 0.02
    train(recipe)
    assert stored(recipe.name)["history"] == [], "its recipe has been run"
    train(replace(recipe, joint_epochs=3))
    after = stored(recipe.name)
    assert [row["epoch"] for row in after["history"]] == [4, 5]
    assert after["run"]["epochs"] == 5
    assert after["run"]["seconds"] > 60
    # The cosine goes on where it was, a third of the way down, and not from its peak.
    assert after["history"][0]["learning_rate"] < 0.6 * recipe.joint_rate * recipe.learning_rate


@pytest.mark.usefixtures("served")
def test_a_checkpoint_is_not_written_over():
    before = restore(_RECIPE).read_bytes()
    with pytest.raises(FileExistsError, match="squeezenet has a checkpoint"):
        restore(_RECIPE)
    assert checkpoint_path(_RECIPE.name).read_bytes() == before


def test_without_a_file_there_is_nothing_to_restore(place):
    with pytest.raises(FileNotFoundError):
        restore(_RECIPE)
