"""How each classifier and each network of the leukemia screen is trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from torch import nn

from training import screen
from training.architectures import build
from training.augment import FIELD_RANGES, Ranges
from training.crops import CROP_PX
from training.tasks import TYPES, Task


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one network is trained.

    Attributes:
        name: the run's name.
        epochs: passes over the crops of the laboratory that has most of them.
        joint_epochs: further passes in which the other laboratories take part, with a schedule of their own.
        small_px: side of the crops in the first `small_share` of the epochs, which are faster.
        side_px: side of the crops after that: the network's own.
        task: what it learns.
        architecture: name in `ARCHITECTURES`; default: the run's.
        start: name of a trained network whose weights it starts from, in place of the architecture's own.
        head_steps: first steps in which only the last layer learns, to leave a pretrained body as it is.
        batch: crops per optimiser step.
        learning_rate: AdamW's, at the peak of the schedule.
        joint_rate: the peak in the joint epochs, as a share of `learning_rate`.
        warm_up: share of the steps in which the learning rate rises.
        balance: classes are drawn by the power `1 - balance` of their number: 0 as they are, 1 all alike.
        others_share: share of the draws in the joint epochs that come from the other laboratories.
        ema: decay of the averaged weights per step.
        patience: epochs at full size without a better held-out accuracy after which the training stops.
        teacher: name of a trained network to distil from.
    """

    name: str
    epochs: int
    small_px: int
    joint_epochs: int = 0
    small_share: float = 0.35
    side_px: int = CROP_PX
    task: Task = TYPES
    architecture: str | None = None
    start: str | None = None
    head_steps: int = 0
    batch: int = 64
    learning_rate: float = 2e-3
    joint_rate: float = 0.3
    weight_decay: float = 0.05
    warm_up: float = 0.08
    balance: float = 0.5
    others_share: float = 0.12
    ema: float = 0.998
    patience: int = 4
    teacher: str | None = None
    ranges: Ranges = field(default_factory=Ranges)

    def build(self) -> nn.Module:
        """The network before training."""
        return build(self.architecture or self.name, len(self.task.classes))

    def side(self, epoch: int) -> int:
        return self.small_px if epoch < round(self.small_share * self.epochs) else self.side_px


RECIPES: Final = {
    recipe.name: recipe
    for recipe in (
        Recipe("efficientnet", 9, small_px=64, joint_epochs=2, head_steps=60, learning_rate=8e-4),
        Recipe("xception-base", 20, small_px=64, small_share=0.7, architecture="xception"),
        Recipe(
            "xception",
            4,
            small_px=64,
            joint_epochs=1,
            others_share=0.2,
            start="xception-base",
            teacher="efficientnet",
        ),
        Recipe(
            "vit",
            7,
            small_px=64,
            joint_epochs=1,
            others_share=0.2,
            learning_rate=8e-4,
            teacher="efficientnet",
        ),
        Recipe(
            "leukemia_field",
            12,
            small_px=96,
            side_px=screen.FIELD_PX,
            task=screen.FIELD_TASK,
            batch=32,
            head_steps=40,
            learning_rate=6e-4,
            ranges=FIELD_RANGES,
        ),
        Recipe("leukemia_cell", 4, small_px=64, task=screen.CELL_TASK, head_steps=40, learning_rate=6e-4),
    )
}
