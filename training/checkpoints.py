"""Where training leaves networks, and how they are had back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from training.architectures import Classifier
from training.recipes import RECIPES
from training.results import TrainingRun, describe_recipe
from training.settings import settings


def checkpoint_path(name: str, *, joint: bool = True) -> Path:
    """Where a network's checkpoint is: the last one, or that from before the joint epochs."""
    return settings().runs / "classifier" / name / ("last.pt" if joint else "before-joint.pt")


def load_trained(name: str, *, joint: bool | None = None) -> Classifier:
    """The trained network in eval mode, its averaged weights loaded.

    Args:
        name: the recipe's name.
        joint: whether with the joint epochs; default: as `settings().without_bccd` says.

    Raises:
        FileNotFoundError: it has not been trained here.
    """
    network = RECIPES[name].build()
    network.load_state_dict(stored(name, joint=joint)["average"])
    return network.eval().requires_grad_(False)


def is_trained(name: str) -> bool:
    """Whether a network has been trained here, to the end of its schedule or until it gave up."""
    recipe = RECIPES[name]
    # Written at the end of the first phase, whichever way that came.
    if not checkpoint_path(name, joint=False).exists():
        return False
    return not recipe.joint_epochs or stored(name, joint=True)["epoch"] >= recipe.epochs + recipe.joint_epochs


def training_run(name: str) -> TrainingRun:
    """How the stored weights came about, and the recipe that they were to follow."""
    run = TrainingRun.model_validate(stored(name)["run"])
    return run.model_copy(update={"recipe": describe_recipe(RECIPES[name])})


def stored(name: str, *, joint: bool | None = None) -> dict[str, Any]:
    """All that a run left: weights, their average, the optimiser, how far it got. `joint` is as in `load_trained`."""
    if joint is None:
        joint = not settings().without_bccd or not checkpoint_path(name, joint=False).exists()
    path = checkpoint_path(name, joint=joint)
    checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return checkpoint
