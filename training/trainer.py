"""Train a classifier: cosine schedule with warm-up, AdamW, EMA of the weights, progressive size, resumable epochs."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from training import datasets
from training.architectures import Normalise, build
from training.augment import Augment, Ranges
from training.crops import CROP_PX, CropSet, context_crops, served_crops
from training.losses import TreeLoss
from training.predict import predict_logits, primary_accuracy
from training.progress import track
from training.results import TrainingRun
from training.settings import settings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one classifier is trained.

    Attributes:
        name: the architecture's name.
        epochs: passes over the training crops.
        small_px: side of the crops in the first `small_share` of the epochs, which are faster.
        batch: crops per optimiser step.
        learning_rate: AdamW's, at the peak of the schedule.
        warm_up: share of the steps in which the learning rate rises.
        ema: decay of the averaged weights per step.
        teacher: name of a trained network to distil from.
        teacher_from: share of the epochs before the teacher joins: the coarse part is learned from labels as well.
    """

    name: str
    epochs: int
    small_px: int
    small_share: float = 0.6
    batch: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warm_up: float = 0.08
    ema: float = 0.998
    teacher: str | None = None
    teacher_from: float = 0.6
    ranges: Ranges = field(default_factory=Ranges)

    @property
    def folder(self) -> Path:
        return settings().runs / "classifier" / self.name

    def side(self, epoch: int) -> int:
        return self.small_px if epoch < round(self.small_share * self.epochs) else CROP_PX


RECIPES: Final = {
    recipe.name: recipe
    for recipe in (
        Recipe("xception", epochs=20, small_px=64, small_share=0.7),
        Recipe("vit", epochs=20, small_px=60, small_share=0.7, learning_rate=1e-3),
    )
}


class Trainer:
    """One training run; `fit` goes on where the last finished epoch of the run left off."""

    def __init__(self, recipe: Recipe) -> None:
        torch.manual_seed(settings().seed)
        torch.set_num_threads(settings().threads)
        self.recipe = recipe
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = build(recipe.name).to(self.device)
        self.average = deepcopy(self.network).eval().requires_grad_(False)
        self.normalise = Normalise()
        self.loss = TreeLoss().to(self.device)
        self.optimizer = torch.optim.AdamW(
            _groups(self.network, recipe.weight_decay), lr=recipe.learning_rate
        )
        self.generator = torch.Generator().manual_seed(settings().seed)
        self.augment = Augment(recipe.ranges, self.generator)
        self.teacher: nn.Module | None = None
        self.epoch = 0
        self.step = 0
        self.seconds = 0.0

    def fit(self, train: CropSet, held_out: CropSet) -> None:
        """Train on context crops; `held_out`, served crops, only shows how it goes."""
        self._resume()
        steps = math.ceil(len(train) / self.recipe.batch)
        while self.epoch < self.recipe.epochs:
            started = time.monotonic()
            side = self.recipe.side(self.epoch)
            if self.recipe.teacher and self.epoch >= round(self.recipe.teacher_from * self.recipe.epochs):
                self.teacher = load_trained(self.recipe.teacher).to(self.device)
            losses = [
                self._step(context, mask, side, steps * self.recipe.epochs)
                for context, mask in self._batches(train, f"epoch {self.epoch + 1}/{self.recipe.epochs}")
            ]
            self.epoch += 1
            self.seconds += time.monotonic() - started
            self._save(len(train))
            accuracy = primary_accuracy(predict_logits(self.average, held_out.crops), held_out.mask)
            log.info(
                "%s epoch %d/%d, %d px: loss %.4f, held-out accuracy %.4f, %.0f s",
                *(self.recipe.name, self.epoch, self.recipe.epochs, side),
                *(sum(losses) / len(losses), accuracy, time.monotonic() - started),
            )

    def _batches(self, train: CropSet, title: str) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(train), generator=self.generator).numpy()
        # A batch of one would break batch normalisation, and a small one adds noise: the rest waits for its luck.
        usable = max(len(order) // self.recipe.batch, 1)
        batches = [order[i * self.recipe.batch : (i + 1) * self.recipe.batch] for i in range(usable)]
        for rows in track(batches, f"{self.recipe.name} {title}"):
            yield (
                torch.from_numpy(train.crops[rows]).to(self.device),
                torch.from_numpy(train.mask[rows]).to(self.device),
            )

    def _step(self, context: Tensor, mask: Tensor, side: int, total_steps: int) -> float:
        self._schedule(total_steps)
        crops = self.normalise(self.augment(context, side))
        self.network.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            logits = self.network(crops)
            teacher_logits = None
            if self.teacher is not None:
                with torch.no_grad():
                    teacher_logits = self.teacher(crops)
        loss: Tensor = self.loss(logits, mask, teacher_logits)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return loss.item()

    def _schedule(self, total_steps: int) -> None:
        warm_up = self.recipe.warm_up * total_steps
        if self.step < warm_up:
            factor = (self.step + 1) / warm_up
        else:
            progress = (self.step - warm_up) / max(total_steps - warm_up, 1)
            factor = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * factor

    @torch.no_grad()
    def _update_average(self) -> None:
        # Early on the average follows quickly, so that it does not remember the initialisation.
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        source = self.network.state_dict()
        for name, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(source[name], 1 - decay)
            else:
                value.copy_(source[name])

    def _save(self, crops: int) -> None:
        run = TrainingRun(
            epochs=self.epoch,
            seconds=round(self.seconds, 1),
            crops=crops,
            threads=settings().threads,
            seed=settings().seed,
        )
        checkpoint = {
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "run": run.model_dump(),
        }
        path = checkpoint_path(self.recipe.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(checkpoint, path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)

    def _resume(self) -> None:
        path = checkpoint_path(self.recipe.name)
        if not path.exists():
            return
        checkpoint: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
        self.network.load_state_dict(checkpoint["network"])
        self.average.load_state_dict(checkpoint["average"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.generator.set_state(checkpoint["generator"].cpu())
        self.epoch, self.step, self.seconds = checkpoint["epoch"], checkpoint["step"], checkpoint["seconds"]
        log.info("%s: going on after epoch %d", self.recipe.name, self.epoch)


def train(recipe: Recipe, resume: bool = True) -> None:
    """Train one classifier on the training tiles less those kept for calibration."""
    if not resume:
        checkpoint_path(recipe.name).unlink(missing_ok=True)
    tiles = datasets.pbc_tiles("train")
    kept_out = datasets.calibration_split([tile.cell_type for tile in tiles])
    context, served = context_crops("train"), served_crops("train")
    Trainer(recipe).fit(context.where(~kept_out), served.where(kept_out))


def checkpoint_path(name: str) -> Path:
    return settings().runs / "classifier" / name / "last.pt"


def load_trained(name: str) -> nn.Module:
    """The trained network in eval mode, its averaged weights loaded.

    Raises:
        FileNotFoundError: it has not been trained here.
    """
    checkpoint = torch.load(checkpoint_path(name), map_location="cpu", weights_only=True)
    network = build(name)
    network.load_state_dict(checkpoint["average"])
    return network.eval().requires_grad_(False)


def training_run(name: str) -> TrainingRun:
    """How the stored weights came about."""
    checkpoint = torch.load(checkpoint_path(name), map_location="cpu", weights_only=True)
    return TrainingRun.model_validate(checkpoint["run"])


def _groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases, norms, scales and positions do not."""
    decayed = [p for name, p in network.named_parameters() if p.ndim > 1 and "position" not in name]
    others = [p for name, p in network.named_parameters() if p.ndim <= 1 or "position" in name]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
