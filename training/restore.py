"""Have a trained network back from its exported file, to go on with where its checkpoint is not.

Checkpoints are not committed, exported files are. The export folds each batch normalisation that follows a convolution
into that convolution's weights; here it is taken out again, with the statistics of what training shows the network.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from torch import Tensor, nn

from training.checkpoints import checkpoint_path
from training.memory import keep_freed_blocks
from training.onnx_graph import ServedClassifier, check_parity
from training.recipes import Recipe
from training.results import ClassifierFigures
from training.settings import settings
from training.trainer import Trainer

log = logging.getLogger(__name__)

#: How torch's exporter begins the names of weights that it has computed, such as folded ones.
_COMPUTED: Final = "onnx::"

#: What a network is called within the module that is exported.
_PREFIX: Final = "network."

#: Batches that the statistics of a normalisation are taken from.
_BATCHES: Final = 20

#: Largest difference of the restored network from the file, see `check_parity`: the order of sums.
_TOLERANCE: Final = 2e-3

#: A convolution, and the batch normalisation that follows it.
Folded = tuple[nn.Conv2d, nn.BatchNorm2d]


def restore(recipe: Recipe) -> Path:
    """Write the checkpoint of a network that was exported: trained by the recipe that its figures record.

    What AdamW remembers and the curves of the epochs so far are lost.

    Returns:
        The checkpoint.

    Raises:
        FileExistsError: there is a checkpoint already.
        FileNotFoundError: there is no exported file, or there are no figures.
        ValueError: the file is not of this network.
    """
    checkpoint = checkpoint_path(recipe.name)
    if checkpoint.exists():
        raise FileExistsError(f"{recipe.name} has a checkpoint; remove {checkpoint} to do without it")
    path = settings().model_repository / recipe.name / "1" / "model.onnx"
    figures = ClassifierFigures.read(recipe.name)
    run = figures.training
    if run is None:
        raise ValueError(f"the figures of {recipe.name} do not say how it was trained")
    keep_freed_blocks()
    trainer = Trainer(recipe)
    network = trainer.network
    folded = read_weights(network, path, torch.zeros(2, 3, recipe.side_px, recipe.side_px))
    lesson = recipe.task.load(recipe.side_px)
    unfold(network, folded, trainer.views(lesson.train, recipe.side_px, _BATCHES))
    served = ServedClassifier(network, figures.temperature, figures.energy_mean, figures.energy_deviation)
    check_parity(served, path, side=recipe.side_px, tolerance=_TOLERANCE)
    epochs = int(run.recipe["epochs"]) + int(run.recipe.get("joint_epochs", 0))
    trainer.take_over(run, epochs, len(lesson.train))
    return checkpoint


@torch.no_grad()
def read_weights(network: nn.Module, path: Path, example: Tensor) -> list[Folded]:
    """Give an untrained network the weights of its exported file, as they are rounded there; it then says the same.

    Args:
        network: what the file was exported from, with any weights.
        path: the ONNX file.
        example: an input of `network`.

    Returns:
        The normalisations that were folded into a convolution. All of both is in the convolution's weight and in the
        normalisation's bias: see `unfold`.

    Raises:
        ValueError: the file was not exported from such a network.
    """
    graph = onnx.load(str(path)).graph
    values = _values(graph)
    computed = [
        (values[node.input[1]], values[node.input[2]])
        for node in graph.node
        if node.op_type == "Conv" and len(node.input) > 2 and node.input[1].startswith(_COMPUTED)
    ]
    folded = _folded(network.eval(), example)
    if len(folded) != len(computed):
        raise ValueError(f"{path} has {len(computed)} folded normalisations, the network {len(folded)}")
    for number, ((convolution, norm), (weight, bias)) in enumerate(
        zip(folded, computed, strict=True), start=1
    ):
        _copy(convolution.weight, weight, f"{path}: folded convolution {number}")
        _copy(norm.bias, bias, f"{path}: bias of folded convolution {number}")
        norm.weight.fill_(1)
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)
    done = {
        id(value)
        for pair in folded
        for module in pair
        for value in module.state_dict(keep_vars=True).values()
    }
    for name, value in network.state_dict(keep_vars=True).items():
        if id(value) in done or name.endswith("num_batches_tracked"):
            continue
        if _PREFIX + name not in values:
            raise ValueError(f"{path} has no {name}")
        _copy(value, values[_PREFIX + name], f"{path}: {name}")
    return folded


@torch.no_grad()
def unfold(network: nn.Module, folded: Iterable[Folded], batches: Iterable[Tensor]) -> None:
    """Let the normalisations that were folded do what they are for again; what the network says stays the same.

    Args:
        network: as `read_weights` leaves it.
        folded: its normalisations.
        batches: of one size, pixels of 0..255 [N, 3, S, S] as in training. Their mean and variance become the running
            ones, and the scale and the bias undo both.
    """
    norms = [norm for _, norm in folded]
    seen: list[list[Tensor]] = [[] for _ in norms]

    def look(place: int) -> Any:
        def hook(_: nn.Module, inputs: tuple[Tensor]) -> None:
            variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
            seen[place].append(torch.stack([mean, variance + mean.square()]).double())

        return hook

    hooks = [norm.register_forward_pre_hook(look(place)) for place, norm in enumerate(norms)]
    network.eval()
    for batch in batches:
        network(batch)
    for hook in hooks:
        hook.remove()
    for norm, each in zip(norms, seen, strict=True):
        mean, square = torch.stack(each).mean(dim=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_((square - mean.square()).clamp(min=0))
        norm.weight.copy_((norm.running_var + norm.eps).sqrt())
        norm.bias.add_(norm.running_mean)


def _folded(network: nn.Module, example: Tensor) -> list[Folded]:
    """Pairs of a convolution and the normalisation of its output, in the order in which they compute."""
    pairs: list[Folded] = []
    last: tuple[nn.Conv2d, Tensor] | None = None

    def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal last
        if isinstance(module, nn.Conv2d):
            last = module, output
        elif isinstance(module, nn.BatchNorm2d) and last is not None and inputs[0] is last[1]:
            pairs.append((last[0], module))

    hooks = [
        module.register_forward_hook(after)
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d)
    ]
    network(example)
    for hook in hooks:
        hook.remove()
    return pairs


def _values(graph: onnx.GraphProto) -> dict[str, NDArray[np.float32]]:
    """The weights of a graph by name, whichever way `onnx_graph.store_weights` has stored them."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if all(name in values for name in node.input):
            if node.op_type == "Cast":
                values[node.output[0]] = values[node.input[0]].astype(np.float32)
            elif node.op_type == "Mul":
                values[node.output[0]] = values[node.input[0]] * values[node.input[1]]
    return values


def _copy(target: Tensor, value: NDArray[np.float32], what: str) -> None:
    if target.shape != value.shape:
        raise ValueError(f"{what} has shape {value.shape}, in the network {tuple(target.shape)}")
    target.copy_(torch.from_numpy(np.array(value)))
