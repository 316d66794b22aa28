"""What there is to decide about the training of one network."""

from __future__ import annotations

from dataclasses import dataclass, field

from training.architectures import ARCHITECTURES, Architecture, Classifier, build
from training.augment import Ranges
from training.crops import CROP_PX
from training.tasks import TYPES, Task


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one network is trained.

    Attributes:
        name: the run's name.
        epochs: passes over the crops of the laboratory that has most of them.
        joint_epochs: further passes with a schedule of their own, in which other laboratories take part where the task
            has any.
        small_px: side of the crops in the first `small_share` of the epochs, which are faster.
        side_px: side of the crops after that: the network's own.
        task: what it learns.
        architecture: name in `ARCHITECTURES`; default: the run's.
        normalisation: of the pixels, in `NORMALISATIONS`.
        start: name of a trained network whose weights it starts from, in place of the architecture's own.
        grown_from: name of a trained smaller network of its kind whose function it starts with, see `training.growth`.
        frozen: whether the body stays as it starts, batch statistics included, and only a new head learns.
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
        storage: of the exported weights, see `training.onnx_graph.export`.
    """

    name: str
    epochs: int
    small_px: int
    joint_epochs: int = 0
    small_share: float = 0.35
    side_px: int = CROP_PX
    task: Task = TYPES
    architecture: str | None = None
    normalisation: str = "standardise"
    start: str | None = None
    grown_from: str | None = None
    frozen: bool = False
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
    storage: str = "fp16"
    ranges: Ranges = field(default_factory=Ranges)

    @property
    def title(self) -> str:
        """The name that people read."""
        return f"{self._architecture.title}, {self.side_px} px"

    @property
    def builds_on(self) -> tuple[str, ...]:
        """Names of the networks that must have been trained before it."""
        return tuple(name for name in (self.teacher, self.start, self.grown_from) if name)

    @property
    def tolerance(self) -> float | None:
        """Largest difference of the exported file from torch, see `Architecture`."""
        return self._architecture.tolerance

    def build(self) -> Classifier:
        """The network before training."""
        name = self.architecture or self.name
        return build(name, len(self.task.classes), self.side_px, self.normalisation)

    @property
    def _architecture(self) -> Architecture:
        return ARCHITECTURES[self.architecture or self.name]

    def side(self, epoch: int) -> int:
        return self.small_px if epoch < round(self.small_share * self.epochs) else self.side_px
