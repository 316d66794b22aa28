"""The figures that are committed, and what they say of a training."""

from dataclasses import dataclass, field

import pytest

from training.results import ClassifierFigures, TrainingRun, describe_recipe
from training.settings import settings


@pytest.fixture(autouse=True)
def results(tmp_path, monkeypatch):
    monkeypatch.setenv("HEMASERVE_RESULTS", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


@dataclass
class _Recipe:
    name: str = "vit"
    epochs: int = 9
    learning_rate: float = 8e-4
    tiles: bool = True
    teacher: str | None = None
    start: str = ""
    without: frozenset[str] = frozenset()
    ranges: list[float] = field(default_factory=list)


def test_a_recipe_is_described_by_its_plain_values():
    assert describe_recipe(_Recipe()) == {
        "name": "vit",
        "epochs": "9",
        "learning_rate": "0.0008",
        "tiles": "True",
    }


def test_what_a_recipe_leaves_out_is_listed_in_order():
    described = describe_recipe(_Recipe(without=frozenset({"raabin", "bccd"})))
    assert described["without"] == "bccd, raabin"


def test_figures_are_read_as_they_were_written():
    run = TrainingRun(epochs=3, seconds=9.5, device="cuda", recipe={"epochs": "4"})
    figures = ClassifierFigures(name="vit", temperature=1.5, training=run)
    figures.write()
    assert ClassifierFigures.read("vit") == figures


def test_a_network_that_was_not_measured_has_no_figures():
    with pytest.raises(FileNotFoundError):
        ClassifierFigures.read("vit")
