"""`run NAME` begins with whatever the network builds on and nobody has trained here yet."""

import pytest

from training import __main__ as command
from training import checkpoints, detector
from training.__main__ import Network
from training.detector import DetectorRecipe


@pytest.fixture
def trained(monkeypatch):
    """Names that count as trained; training adds to them, in order."""
    names: list[str] = []
    monkeypatch.setattr(command, "train", lambda name, *_: names.append(str(name)))
    monkeypatch.setattr(checkpoints, "is_trained", lambda name: name in names)
    monkeypatch.setattr(DetectorRecipe, "is_trained", property(lambda recipe: recipe.name in names))
    return names


def test_a_teacher_and_a_smaller_network_come_first(trained):
    command.lay_foundations(Network.EFFICIENTNET_B3)
    assert trained == ["efficientnet-base", "efficientnet_b0"]


def test_what_the_foundations_build_on_comes_before_them(trained):
    command.lay_foundations(Network.ALBADAREEN2024_RESNET50)
    assert trained == ["efficientnet-base", "resnet50"]


def test_nothing_is_trained_twice(trained):
    trained.append("efficientnet-base")
    command.lay_foundations(Network.UNET)
    assert trained == ["efficientnet-base"]


def test_a_detector_that_looks_at_tiles_needs_the_one_that_finds_them(trained):
    command.lay_foundations(Network.YOLOV5N)
    assert trained == ["yolov8n-base"]
    assert detector.RECIPES["yolov8n"].builds_on == ("yolov8n-base",)


def test_an_ensemble_makes_the_members_that_are_not_in_the_repository(place, monkeypatch):
    made = []
    monkeypatch.setattr(command, "run", made.append)
    (place.model_repository / "xception").mkdir(parents=True)
    command.lay_foundations(Network.COMPARATIVE_ENSEMBLE)
    assert made == ["vgg19", "unet"]
