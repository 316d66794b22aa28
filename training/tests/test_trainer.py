"""Training: it learns, stops, and goes on where it left off as if it had never stopped."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from training import checkpoints, trainer
from training.architectures import Architecture, Classifier
from training.checkpoints import checkpoint_path, load_trained, training_run
from training.crops import CropSet
from training.recipes import Recipe
from training.settings import settings
from training.tasks import Lesson, Task
from training.trainer import Trainer, train

_CLASSES = ("dark", "bright")


def _tiny(classes: int, side: int) -> Classifier:
    """Everything that a resumed run could get wrong: batch statistics, dropout, and a head of its own."""
    body = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.3))
    return Classifier(body, 4, classes, dropout=0.0)


def _crops(count: int, side: int, seed: int = 0) -> CropSet:
    """Half of them have a dark upper half, half of them a bright one, with noise on top."""
    generator = np.random.default_rng(seed)
    bright = np.arange(count) % 2 == 1
    pixels = generator.integers(100, 140, (count, side, side, 3))
    pixels[:, side // 4 : -side // 4, side // 4 : -side // 4] += np.where(bright, 60, -60)[
        :, None, None, None
    ]
    return CropSet(pixels.astype(np.uint8), np.stack([~bright, bright], axis=1))


def _lesson(side: int = 16, others: bool = True) -> Lesson:
    return Lesson(_crops(32, 24), _crops(8, 24, seed=1) if others else None, _crops(10, side, seed=2))


_TASK = Task(_CLASSES, np.eye(2, dtype=np.float32), 1.5, _lesson, lambda side: _crops(10, side, seed=3))
_RECIPE = Recipe("tiny", epochs=3, joint_epochs=2, small_px=12, side_px=16, task=_TASK, batch=8, head_steps=6)

MakeTrainer = Callable[..., Trainer]


@pytest.fixture(autouse=True)
def tiny(place, monkeypatch):
    """An architecture and a recipe of seconds, in place of those of hours."""
    known = {"tiny": Architecture("tiny", "Tiny", _tiny), "other": Architecture("other", "Other", _tiny)}
    monkeypatch.setattr("training.architectures.ARCHITECTURES", known)
    known["frozen"] = known["whole"] = known["tiny"]
    monkeypatch.setattr(checkpoints, "RECIPES", {name: replace(_RECIPE, name=name) for name in known})


def _state(name: str = "tiny") -> dict[str, torch.Tensor]:
    return torch.load(checkpoint_path(name), weights_only=True)


def _interrupt_after(monkeypatch, epochs: int) -> None:
    saved, save = 0, Trainer._save

    def save_and_stop(self, crops):
        nonlocal saved
        save(self, crops)
        saved += 1
        if saved == epochs:
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "_save", save_and_stop)


def test_a_run_counts_as_trained_when_its_last_epoch_is_done(monkeypatch):
    assert not checkpoints.is_trained("tiny")
    with monkeypatch.context() as patched:
        _interrupt_after(patched, _RECIPE.epochs + 1)
        with pytest.raises(KeyboardInterrupt):
            train(_RECIPE)
    assert not checkpoints.is_trained("tiny")
    train(_RECIPE)
    assert checkpoints.is_trained("tiny")


@pytest.mark.parametrize("epochs", [1, 2, 3, 4])
def test_an_interrupted_run_goes_on_to_the_same_weights_as_an_uninterrupted_one(monkeypatch, epochs):
    train(_RECIPE)
    whole = _state()
    train(_RECIPE, resume=False)
    checkpoint_path("tiny").unlink()
    with monkeypatch.context() as patched:
        _interrupt_after(patched, epochs)
        with pytest.raises(KeyboardInterrupt):
            train(_RECIPE)
    assert _state()["epoch"] == epochs
    train(_RECIPE)
    resumed = _state()
    for part in ("network", "average"):
        for name, value in whole[part].items():
            torch.testing.assert_close(resumed[part][name], value, rtol=0, atol=0, msg=f"{part}.{name}")
    assert [row["loss"] for row in resumed["history"]] == [row["loss"] for row in whole["history"]]


def test_a_finished_run_is_not_trained_further():
    train(_RECIPE)
    before = checkpoint_path("tiny").read_bytes()
    train(_RECIPE)
    assert checkpoint_path("tiny").read_bytes() == before


def test_a_run_that_is_not_to_be_resumed_begins_anew():
    train(replace(_RECIPE, epochs=1, joint_epochs=0))
    train(replace(_RECIPE, epochs=2, joint_epochs=0), resume=False)
    assert [row["epoch"] for row in _state()["history"]] == [1, 2]


def test_training_learns_what_the_labels_say():
    train(replace(_RECIPE, epochs=12, head_steps=0, learning_rate=2e-2, patience=12))
    history = _state()["history"]
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    assert history[-1]["held_out_accuracy"] == 1.0


def test_it_gives_up_when_the_held_out_accuracy_stays_the_same_and_still_runs_the_joint_epochs(monkeypatch):
    monkeypatch.setattr(trainer, "parent_accuracy", lambda *_: 0.5)
    train(replace(_RECIPE, epochs=10, small_share=0.2, patience=3))
    history = _state()["history"]
    # Two small epochs, one to compare with, three without a better one; then the joint ones.
    assert len(history) == 2 + 1 + 3 + 2
    assert training_run("tiny").epochs == len(history)


def test_it_goes_on_as_long_as_the_held_out_accuracy_rises(monkeypatch):
    accuracies = iter(np.linspace(0.1, 0.9, 20))
    monkeypatch.setattr(trainer, "parent_accuracy", lambda *_: float(next(accuracies)))
    train(replace(_RECIPE, epochs=8, joint_epochs=0, patience=1))
    assert len(_state()["history"]) == 8


def test_a_run_that_gave_up_gives_up_again_when_it_is_resumed(monkeypatch):
    monkeypatch.setattr(trainer, "parent_accuracy", lambda *_: 0.5)
    recipe = replace(_RECIPE, epochs=10, joint_epochs=0, small_share=0.0, patience=2)
    train(recipe)
    train(recipe)
    assert len(_state()["history"]) == 3


def test_the_network_from_before_the_joint_epochs_is_kept_and_never_saw_the_other_laboratory():
    train(_RECIPE)
    train(replace(_RECIPE, name="other", joint_epochs=0))
    kept = torch.load(checkpoint_path("tiny", joint=False), weights_only=True)
    alone = _state("other")
    for name, value in kept["average"].items():
        torch.testing.assert_close(value, alone["average"][name], rtol=0, atol=0)
    served, before = load_trained("tiny", joint=True), load_trained("tiny", joint=False)
    assert (served.head.weight != before.head.weight).any()


def test_a_task_of_one_laboratory_goes_on_with_its_own_crops_by_the_second_schedule():
    task = replace(_TASK, load=lambda side: _lesson(side, others=False))
    train(replace(_RECIPE, task=task))
    history = _state()["history"]
    assert len(history) == _RECIPE.epochs + _RECIPE.joint_epochs
    assert history[-1]["learning_rate"] < 0.1 * _RECIPE.joint_rate * _RECIPE.learning_rate


def test_only_the_head_learns_in_the_first_steps():
    recipe = replace(_RECIPE, epochs=1, joint_epochs=0, head_steps=100)
    untouched = Trainer(recipe).network.body[0].weight.clone()
    run = Trainer(recipe)
    head = run.network.head.weight.clone()
    run.fit(_lesson())
    torch.testing.assert_close(run.network.body[0].weight, untouched, rtol=0, atol=0)
    assert (run.network.head.weight != head).any()


def test_a_second_phase_has_a_schedule_of_its_own_and_no_patience(monkeypatch):
    monkeypatch.setattr(trainer, "parent_accuracy", lambda *_: 0.5)
    task = replace(_TASK, load=lambda side: _lesson(side, others=False))
    train(replace(_RECIPE, task=task, epochs=6, joint_epochs=3, small_share=0.0, patience=1, joint_rate=0.1))
    history = _state()["history"]
    # It gave up after two epochs; all of the second phase follows, at its own rate.
    assert len(history) == 2 + 3
    rates = [row["learning_rate"] for row in history]
    assert rates[2] > rates[3] > rates[4]
    assert max(rates[2:]) <= 0.1 * _RECIPE.learning_rate
    assert _state()["run"]["crops"] == 32


def _frozen(name: str = "frozen") -> Recipe:
    return replace(_RECIPE, name=name, start="other", frozen=True, joint_epochs=0, head_steps=0)


def test_a_frozen_body_stays_as_it_started_bit_for_bit_and_a_new_head_learns():
    train(replace(_RECIPE, name="other"))
    started = _state("other")["average"]
    recipe = _frozen()
    fresh = {name: value.clone() for name, value in Trainer(recipe).network.state_dict().items()}
    # The head does not start where the other network's ended.
    assert (fresh["head.weight"] != started["head.weight"]).all()
    train(recipe)
    for part in ("network", "average"):
        learned = _state("frozen")[part]
        assert learned.keys() == started.keys()
        for name, value in learned.items():
            if name.startswith("head."):
                assert (value != fresh[name]).any(), name
            else:  # batch statistics among them
                torch.testing.assert_close(value, started[name], rtol=0, atol=0, msg=name)
    assert any("running_mean" in name for name in started)


def test_a_body_that_is_not_frozen_goes_on_learning_and_keeps_its_head():
    train(replace(_RECIPE, name="other"))
    started = _state("other")["average"]
    recipe = replace(_frozen(), frozen=False)
    network = Trainer(recipe).network
    torch.testing.assert_close(network.head.weight, started["head.weight"], rtol=0, atol=0)
    train(recipe)
    assert (_state("frozen")["network"]["body.0.weight"] != started["body.0.weight"]).any()
    assert (_state("frozen")["network"]["body.1.running_mean"] != started["body.1.running_mean"]).any()


def test_a_frozen_run_that_is_resumed_ends_as_one_that_was_not(monkeypatch):
    train(replace(_RECIPE, name="other"))
    train(_frozen("whole"))
    with monkeypatch.context() as patched:
        _interrupt_after(patched, 1)
        with pytest.raises(KeyboardInterrupt):
            train(_frozen())
    train(_frozen())
    for name, value in _state("whole")["average"].items():
        torch.testing.assert_close(_state("frozen")["average"][name], value, rtol=0, atol=0, msg=name)


def test_checkpoints_can_be_rare_and_the_last_epoch_is_kept_all_the_same(monkeypatch):
    monkeypatch.setenv("HEMASERVE_SAVE_EVERY_S", "3600")
    settings.cache_clear()
    saves = []
    save = Trainer._save
    monkeypatch.setattr(Trainer, "_save", lambda self, crops: (saves.append(self.epoch), save(self, crops)))
    train(_RECIPE)
    # The first epoch, as nothing was saved yet; the end of each phase.
    assert saves == [1, 3, 5]
    assert _state()["epoch"] == 5
    assert checkpoint_path("tiny", joint=False).exists()


def test_bfloat16_is_a_matter_of_the_device_unless_it_is_asked_for(monkeypatch):
    assert not Trainer(_RECIPE).mixed_precision
    monkeypatch.setenv("HEMASERVE_MIXED_PRECISION", "true")
    settings.cache_clear()
    run = Trainer(replace(_RECIPE, epochs=1, joint_epochs=0))
    assert run.mixed_precision
    run.fit(_lesson())
    assert np.isfinite(run.history[0]["loss"])
    assert all(parameter.dtype == torch.float32 for parameter in run.network.parameters())


def test_the_learning_rate_rises_falls_and_rises_again_for_the_joint_epochs():
    train(_RECIPE)
    rates = [row["learning_rate"] for row in _state()["history"]]
    assert rates[0] > rates[1] > rates[2]
    assert rates[3] > rates[2]
    assert max(rates[3:]) <= _RECIPE.joint_rate * _RECIPE.learning_rate
    assert rates[0] <= _RECIPE.learning_rate


def test_crops_grow_to_full_size():
    train(replace(_RECIPE, epochs=4, small_share=0.5))
    assert [row["side_px"] for row in _state()["history"]] == [12, 12, 16, 16, 16, 16]


def test_a_teacher_has_a_say():
    train(replace(_RECIPE, name="other"))
    train(_RECIPE)
    alone = _state()["average"]
    train(replace(_RECIPE, teacher="other"), resume=False)
    assert any((alone[name] != value).any() for name, value in _state()["average"].items())


def test_the_run_says_how_it_went_and_what_it_was_to_follow():
    train(_RECIPE)
    run = training_run("tiny")
    assert (run.epochs, run.crops, run.threads, run.device) == (5, 40, 1, "cpu")
    assert run.recipe["joint_epochs"] == "2"
    assert run.seconds > 0
    # A convolution of 3 to 4 channels, its norm, and a head of 4 to 2.
    assert run.parameters == (4 * 27 + 4) + 8 + (8 + 2)


def test_rare_classes_are_drawn_more_often_than_they_are():
    mask = np.array([[True, False]] * 90 + [[False, True]] * 10)
    crops = CropSet(np.zeros((100, 2, 2, 3), np.uint8), mask)
    for balance, share in ((0.0, 0.1), (0.5, 0.25), (1.0, 0.5)):
        weights = trainer._weights(crops, replace(_RECIPE, balance=balance))
        assert weights.sum() == pytest.approx(1)
        assert weights[90:].sum() == pytest.approx(share)


def test_a_network_that_was_not_trained_here_is_a_missing_file():
    with pytest.raises(FileNotFoundError):
        load_trained("tiny")
