"""What `hemaserve models` shows."""

import io

from rich.console import Console

from hemaserve.cli.models import _table
from hemaserve.results import Model, ModelSource, ModelTask, Rollout


def model(name: str, **changes) -> Model:
    facts = {
        "title": name.title(),
        "task": ModelTask.CLASSIFICATION,
        "source": ModelSource(name, "1", "a" * 64),
        "ready": True,
        "is_default": False,
        "input_size_px": 96,
        "leaf_types": (),
        "kinds": (),
        "members": (),
        "crop_margin": 0.15,
        "licence": "MIT",
    }
    return Model(name=name, **(facts | changes))


def shown(*models: Model) -> list[str]:
    output = io.StringIO()
    Console(file=output, width=200).print(_table(list(models)))
    return output.getvalue().splitlines()


def line(lines: list[str], name: str) -> str:
    (found,) = [line for line in lines if line.split()[:1] == [name]]
    return " ".join(found.split())


def test_versions_are_shown_with_what_they_answer_for():
    lines = shown(model("vit", rollout=Rollout("vit", "vit-2", 0.25, 1.0)), model("vit-2"), model("other"))
    assert "0.75 of vit" in line(lines, "vit")
    assert "0.25 of vit, shadow of 1 of the others" in line(lines, "vit-2")
    assert "of vit" not in line(lines, "other")


def test_a_promoted_version_answers_for_all():
    lines = shown(model("vit", rollout=Rollout("vit-2", "", 0.0, 0.0)), model("vit-2"))
    assert "1 of vit" in line(lines, "vit-2")
    assert "of vit" not in line(lines, "vit")


def test_a_version_that_is_not_there_is_told():
    lines = shown(model("vit", rollout=Rollout("vit-9", "", 0.0, 0.0, missing=("vit-9",))))
    assert "vit-9 is not there" in line(lines, "vit")


def test_without_rollouts_there_is_no_word_of_them():
    assert not any("Answers for" in line for line in shown(model("vit")))


def test_what_is_loaded_when_asked_for_is_listed_by_its_name():
    assert line(shown(model("vit"), model("resnet50", ready=False, on_request=True)), "resnet50") == (
        "resnet50 when asked"
    )
