"""Train a classifier: cosine schedule with warm-up, AdamW, EMA of the weights, progressive size, resumable epochs."""

from __future__ import annotations

import json
import logging
import math
import shutil
import time
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.architectures import Classifier, parameters_of
from training.augment import Augment
from training.checkpoints import checkpoint_path, load_trained, stored
from training.crops import CropSet
from training.growth import grow
from training.losses import TreeLoss
from training.memory import keep_freed_blocks
from training.predict import parent_accuracy, predict_logits
from training.progress import track
from training.recipes import Recipe
from training.results import TrainingRun
from training.settings import settings
from training.tasks import Lesson

log = logging.getLogger(__name__)


class Trainer:
    """One training run; `fit` goes on where the last finished epoch of the run left off."""

    def __init__(self, recipe: Recipe) -> None:
        torch.manual_seed(settings().seed)
        torch.set_num_threads(settings().threads)
        self.recipe = recipe
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.mixed_precision = settings().mixes_precision(self.device.type)
        self.network = recipe.build()
        if recipe.start:
            self.network.load_state_dict(stored(recipe.start)["average"])
        if recipe.grown_from:
            grow(self.network, stored(recipe.grown_from)["average"])
        if recipe.frozen:
            self.network.requires_grad_(False)
            self.network.head.reset_parameters()
            self.network.head.requires_grad_(True)
        self.network.to(self.device)
        self.average = deepcopy(self.network).eval().requires_grad_(False)
        self.loss = TreeLoss(recipe.task.tree).to(self.device)
        self.optimizer = torch.optim.AdamW(
            _groups(self.network, recipe.weight_decay),
            lr=recipe.learning_rate,
            fused=self.device.type == "cuda",
        )
        self.generator = torch.Generator(self.device).manual_seed(settings().seed)
        self.augment = Augment(recipe.ranges, self.generator, recipe.task.context)
        self.teacher: Classifier | None = None
        self.saved_at = -math.inf
        self.unsaved = False
        self.epoch = 0
        self.step = 0
        self.epochs_run = 0
        self.seconds = 0.0
        self.history: list[dict[str, float]] = []

    def fit(self, lesson: Lesson) -> None:
        """Train on the lesson's crops: first one laboratory's, then, where there are any, all of them together."""
        self._resume()
        if self.epoch <= self.recipe.epochs:
            self._fit(lesson, lesson.train, _weights(lesson.train, self.recipe), self.recipe.epochs)
            self._save_rest(len(lesson.train))
            shutil.copy(checkpoint_path(self.recipe.name), checkpoint_path(self.recipe.name, joint=False))
            # Where it gave up, the joint epochs follow as if all others had been run.
            self.epoch = self.recipe.epochs
            self.step = self.recipe.epochs * self._steps(lesson)
        train, weights = lesson.train, _weights(lesson.train, self.recipe)
        if lesson.others is not None and self.recipe.joint_epochs:
            share = self.recipe.others_share
            weights = np.concatenate([weights * (1 - share), _weights(lesson.others, self.recipe) * share])
            train = train.joined(lesson.others)
        self._fit(lesson, train, weights, self.recipe.epochs + self.recipe.joint_epochs)
        self._save_rest(len(train))

    def views(self, train: CropSet, side: int, batches: int) -> Iterator[Tensor]:
        """Some batches of crops as an epoch shows them: pixels of 0..255, float [batch, 3, side, side]."""
        weights = _weights(train, self.recipe)
        for rows in self._batches(weights, batches, "views"):
            yield self.augment(torch.from_numpy(train.crops[rows.cpu().numpy()]).to(self.device), side)

    def take_over(self, run: TrainingRun, epoch: int, crops: int) -> None:
        """Save a network that was trained before, so that `fit` goes on after `epoch` epochs of the schedule.

        Args:
            run: how the weights in `network` came about.
            epoch: how far into the schedule.
            crops: training examples per epoch.
        """
        self.average.load_state_dict(self.network.state_dict())
        self.epoch, self.epochs_run, self.seconds = epoch, run.epochs, run.seconds
        self.step = epoch * max(crops // self.recipe.batch, 1)
        self._save(crops)

    def _fit(self, lesson: Lesson, train: CropSet, weights: NDArray[np.float64], last_epoch: int) -> None:
        steps = self._steps(lesson)
        crops = torch.from_numpy(train.crops).to(self.device)
        mask = torch.from_numpy(train.mask).to(self.device)
        while self.epoch < last_epoch and not self._gave_up():
            started = time.monotonic()
            side = self.recipe.side(self.epoch)
            if self.recipe.teacher:
                joint = self.epoch >= self.recipe.epochs
                self.teacher = load_trained(self.recipe.teacher, joint=joint).to(self.device)
            title = f"epoch {self.epoch + 1}/{self.recipe.epochs + self.recipe.joint_epochs}"
            losses = [
                self._step(crops[rows], mask[rows], side, steps)
                for rows in self._batches(weights, steps, title)
            ]
            loss = float(torch.stack(losses).mean())
            self.epoch += 1
            self.epochs_run += 1
            self.unsaved = True
            self.seconds += time.monotonic() - started
            logits = predict_logits(self.average, lesson.held_out.crops)
            accuracy = parent_accuracy(logits, lesson.held_out.mask, self.recipe.task.tree)
            self.history.append(
                {
                    "epoch": self.epoch,
                    "side_px": side,
                    "loss": round(loss, 5),
                    "held_out_accuracy": round(accuracy, 5),
                    "learning_rate": self.optimizer.param_groups[0]["lr"],
                    "seconds": round(time.monotonic() - started, 1),
                }
            )
            if time.monotonic() - self.saved_at >= settings().save_every_s:
                self._save(len(train))
            log.info("%s: %s", self.recipe.name, self.history[-1])

    def _steps(self, lesson: Lesson) -> int:
        return max(len(lesson.train) // self.recipe.batch, 1)

    def _gave_up(self) -> bool:
        """Whether the last `patience` epochs at full size brought nothing. The joint epochs are few and all run."""
        full = [row["held_out_accuracy"] for row in self.history if row["side_px"] == self.recipe.side_px]
        if self.epoch >= self.recipe.epochs or len(full) <= self.recipe.patience:
            return False
        return max(full[-self.recipe.patience :]) <= max(full[: -self.recipe.patience])

    def _batches(self, weights: NDArray[np.float64], steps: int, title: str) -> Iterator[Tensor]:
        drawn = torch.multinomial(
            torch.from_numpy(weights).to(self.device),
            steps * self.recipe.batch,
            replacement=True,
            generator=self.generator,
        )
        yield from track(drawn.reshape(steps, self.recipe.batch), f"{self.recipe.name} {title}")

    def _step(self, context: Tensor, mask: Tensor, side: int, steps_per_epoch: int) -> Tensor:
        self._schedule(steps_per_epoch)
        crops = self.augment(context, side)
        self.network.train()
        if self.recipe.frozen:
            self.network.body.eval()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed_precision):
            logits = self.network(crops)
        teacher_logits = None
        if self.teacher is not None:
            on_gpu = self.device.type == "cuda"
            with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=on_gpu):
                teacher_logits = self.teacher(crops)
        loss: Tensor = self.loss(logits, mask, teacher_logits)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 2.0)
        self.optimizer.step()
        self.step += 1
        self._update_average()
        return loss.detach()

    def _schedule(self, steps_per_epoch: int) -> None:
        recipe = self.recipe
        peak, total, step = recipe.learning_rate, recipe.epochs * steps_per_epoch, self.step
        if self.epoch >= recipe.epochs:
            peak, step = peak * recipe.joint_rate, step - total
            total = recipe.joint_epochs * steps_per_epoch
        warm_up = recipe.warm_up * total
        if step < warm_up:
            factor = (step + 1) / warm_up
        else:
            progress = (step - warm_up) / max(total - warm_up, 1)
            factor = 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
        for group in self.optimizer.param_groups:
            group["lr"] = peak * factor
        if recipe.head_steps and self.step <= recipe.head_steps:
            self.network.requires_grad_(self.step == recipe.head_steps)
            self.network.head.requires_grad_(True)

    @torch.no_grad()
    def _update_average(self) -> None:
        # Early on the average follows quickly, so that it does not remember the initialisation.
        decay = min(self.recipe.ema, (1 + self.step) / (10 + self.step))
        averages, current = self.average.state_dict(), self.network.state_dict()
        floating = [name for name, value in averages.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [averages[name] for name in floating], [current[name] for name in floating], 1 - decay
        )
        for name in averages.keys() - floating:
            averages[name].copy_(current[name])

    def _save_rest(self, crops: int) -> None:
        if self.unsaved:
            self._save(crops)

    def _save(self, crops: int) -> None:
        self.unsaved = False
        self.saved_at = time.monotonic()
        run = TrainingRun(
            epochs=self.epochs_run,
            seconds=round(self.seconds, 3),
            crops=crops,
            threads=settings().threads,
            seed=settings().seed,
            device=self.device.type,
            parameters=parameters_of(self.network),
        )
        checkpoint = {
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "dropout_generator": torch.get_rng_state(),
            "history": self.history,
            "run": run.model_dump(),
        }
        path = checkpoint_path(self.recipe.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(checkpoint, path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)
        path.with_name("history.json").write_text(json.dumps(self.history, indent=1) + "\n")

    def _resume(self) -> None:
        path = checkpoint_path(self.recipe.name)
        if not path.exists():
            return
        checkpoint = stored(self.recipe.name, joint=True)
        self.network.load_state_dict(checkpoint["network"])
        self.average.load_state_dict(checkpoint["average"])
        self.optimizer.load_state_dict(checkpoint["optimizer"])
        self.generator.set_state(checkpoint["generator"].cpu())
        torch.set_rng_state(checkpoint.get("dropout_generator", torch.get_rng_state()).cpu())
        self.epoch, self.step, self.seconds = checkpoint["epoch"], checkpoint["step"], checkpoint["seconds"]
        self.epochs_run = checkpoint["run"]["epochs"]
        self.history = checkpoint["history"]
        log.info("%s: going on after epoch %d", self.recipe.name, self.epoch)


def train(recipe: Recipe, resume: bool = True) -> None:
    """Train one network on its task."""
    keep_freed_blocks()
    if not resume:
        for joint in (True, False):
            checkpoint_path(recipe.name, joint=joint).unlink(missing_ok=True)
    Trainer(recipe).fit(recipe.task.load(recipe.side_px))


def _weights(crops: CropSet, recipe: Recipe) -> NDArray[np.float64]:
    """How often each crop is drawn; they sum to 1. Labels that allow the same classes are a class of their own."""
    _, label, count = np.unique(crops.mask, axis=0, return_inverse=True, return_counts=True)
    weights = count.astype(np.float64)[label.reshape(-1)] ** -recipe.balance
    return np.asarray(weights / weights.sum())


def _groups(network: Classifier, weight_decay: float) -> list[dict[str, Any]]:
    """Weights decay; biases, norms, scales and positions do not."""
    decayed = [p for name, p in network.named_parameters() if p.ndim > 1 and "position" not in name]
    others = [p for name, p in network.named_parameters() if p.ndim <= 1 or "position" in name]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
