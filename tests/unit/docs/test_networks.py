"""docs/networks.md puts every network and every recipe of a paper side by side, whatever of them was measured."""

import itertools
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

INTERVAL = [0.9, 0.95]


@pytest.fixture(scope="module")
def scripts(script):
    parts = ("words", "measurements", "texts", "charts", "labels", "networks", "network_chart", "bars")
    for name in (*parts, "cells", "page"):
        script(f"accuracy_{name}")
    accuracy = script("accuracy")
    return SimpleNamespace(
        accuracy=accuracy,
        networks=sys.modules["accuracy_networks"],
        chart=sys.modules["accuracy_network_chart"],
        labels=sys.modules["accuracy_labels"],
    )


def write(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def model(name: str, members: tuple[str, ...] = (), task: str = "classification", **more) -> dict:
    source = {"name": name, "version": "1", "sha256": name}
    return {"name": name, "title": name, "task": task, "is_default": name == "both", "source": source} | {
        "members": list(members),
        **more,
    }


def cells(network: str, accuracy: float) -> dict:
    provenance = {
        "detector": None,
        "classifier": {"name": network, "sha256": network},
        "software_version": "0.1.0",
    }
    figures = dict.fromkeys(("macro_f1", "ece", "accuracy_identified"), 0.5)
    intervals = dict.fromkeys(("macro_f1_ci95", "accuracy_identified_ci95"), INTERVAL)
    counts = {"n": 200, "unidentified": 3, "fallbacks": 0, "per_type": {}, "confusion": {"monocyte": {}}}
    circumstances = {"provenance": provenance, "date": "2026-01-31", "partial": False}
    return {"accuracy": accuracy, "accuracy_ci95": INTERVAL} | figures | intervals | counts | circumstances


def speed(**crops_per_second: float) -> dict:
    networks = {
        name: {"crops_per_second": value, "ratio": 0.9, "file_mb": 3.21, "sources": {name: name}}
        for name, value in crops_per_second.items()
    }
    return {"date": "2026-01-31", "cores": 2, "cpu": "a processor", "rounds": 3, "seconds": 1} | {
        "networks": networks,
        "file_mb": {},
    }


def trained(parameters: int | None, bccd: float | None = None) -> dict:
    primary = {"accuracy": bccd, "accuracy_ci95": INTERVAL, "crops": 203}
    run = {} if parameters is None else {"parameters": parameters}
    return {"sources": {} if bccd is None else {"bccd": {"primary": primary}}, "training": run}


@pytest.fixture
def results(tmp_path) -> Path:
    folder = tmp_path / "accuracy"
    write(
        folder / "models.json", {"models": [model("vgg19"), model("unet"), model("both", ("vgg19", "unet"))]}
    )
    write(folder / "cells-vgg19.json", cells("vgg19", 0.975))
    write(folder / "cells-both.json", cells("both", 0.985))
    write(folder / "cells-five-types-vgg19.json", cells("vgg19", 0.99))
    write(folder / "speed.json", speed(vgg19=61.4, both=40.2))
    presets = folder / "presets"
    write(
        presets / "models.json", {"models": [model("hussien2025_vgg19"), model("mooney_hybrid_dense_random")]}
    )
    write(presets / "cells-hussien2025_vgg19.json", cells("hussien2025_vgg19", 0.96))
    write(presets / "speed.json", speed(hussien2025_vgg19=60.1))
    return folder


@pytest.fixture
def training(tmp_path) -> Path:
    folder = tmp_path / "training"
    write(folder / "vgg19.json", trained(20_100_000))
    write(folder / "unet.json", trained(1_900_000))
    write(folder / "left-out" / "vgg19.json", trained(20_100_000, 0.801))
    write(folder / "presets" / "hussien2025_vgg19.json", trained(20_200_000, 0.402))
    write(folder / "presets" / "bhavana_xception.json", trained(None, 0.303))
    write(folder / "presets" / "mooney_hybrid_graph_random.json", trained(5))
    return folder


@pytest.fixture
def page(scripts, results, training) -> str:
    return scripts.accuracy.rendered(results, training)[0]["networks.md"]


def row(page: str, name: str) -> list[str]:
    (line,) = (line for line in page.splitlines() if line.startswith(f"| {name} |"))
    return [value.strip() for value in line.strip("|").split("|")]


def test_a_network_is_shown_with_all_that_is_known_of_it(page):
    assert row(page, "vgg19")[1:] == [
        *("network", "97.5% (90.0 to 95.0) of 200", "99.0% (90.0 to 95.0) of 200"),
        *("80.1% (90.0 to 95.0) of 203", "20.10", "3.2", "61"),
    ]


def test_an_ensemble_has_its_members_parameters_when_all_are_known(scripts, page, results, training):
    assert row(page, "both (default)")[1] == "ensemble"
    assert row(page, "both (default)")[5] == "22.00"
    write(training / "unet.json", trained(None))
    without = scripts.accuracy.rendered(results, training)[0]["networks.md"]
    assert row(without, "both (default)")[5] == "not measured"


def test_a_preset_has_its_own_figures_on_bccd_which_it_has_never_seen(page):
    shown = row(page, "hussien2025_vgg19")
    assert shown[1] == "preset"
    assert shown[2].startswith("96.0%")
    assert shown[4].startswith("40.2%")
    assert shown[5] == "20.20"


def test_what_was_only_trained_is_shown_and_the_rest_said_to_be_not_measured(page):
    assert row(page, "bhavana_xception")[1:4] == ["preset", "not measured", "not measured"]
    assert row(page, "bhavana_xception")[4].startswith("30.3%")
    assert row(page, "unet")[2:] == ["not measured"] * 3 + ["1.90"] + ["not measured"] * 2


def test_a_network_that_never_saw_bccd_needs_no_twin(scripts, results, training):
    own = trained(1_900_000, 0.601)
    write(training / "unet.json", own)
    assert row(scripts.accuracy.rendered(results, training)[0]["networks.md"], "unet")[4] == "not measured"
    own["sources"]["bccd"]["never_seen"] = True
    write(training / "unet.json", own)
    assert row(scripts.accuracy.rendered(results, training)[0]["networks.md"], "unet")[4].startswith("60.1%")


def test_networks_for_another_task_are_not_compared(page):
    assert "mooney" not in page


def test_networks_come_first_then_ensembles_then_presets(page):
    names = [line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")][1:]
    assert names == ["unet", "vgg19", "both (default)", "bhavana_xception", "hussien2025_vgg19"]


def test_the_page_says_what_was_measured_offline(page):
    assert "did not go through the services" in " ".join(page.split())


def test_the_chart_shows_what_is_known_in_both_ways_with_every_name(scripts, results, training):
    _, charts = scripts.accuracy.rendered(results, training)
    (chart,) = (chart for chart in charts if chart.name == "networks.svg")
    assert chart.series["pbc"].keys() == {"vgg19", "both", "hussien2025_vgg19"}
    assert chart.series["left_out"].keys() == {"vgg19", "hussien2025_vgg19"}
    chart.write(results)
    drawn = (results / "networks.svg").read_text()
    assert drawn.count(">vgg19</text>") == drawn.count(">hussien2025_vgg19</text>") == 2
    assert drawn.count(">both</text>") == 1
    assert chart.is_current(results)


def test_without_speed_there_is_no_chart(scripts, results, training):
    (results / "speed.json").unlink()
    (results / "presets" / "speed.json").unlink()
    pages, charts = scripts.accuracy.rendered(results, training)
    assert "networks.svg" not in {chart.name for chart in charts}
    assert "networks.svg" not in pages["networks.md"]


@settings(max_examples=10)
@given(st.lists(st.tuples(st.floats(0, 600), st.floats(0, 400)), max_size=10, unique=True))
def test_labels_stay_inside_and_off_each_other(scripts, points):
    area = scripts.labels.Rectangle(0, 0, 600, 400)
    labels = scripts.labels.place_labels(points, [(90.0, 9.0)] * len(points), area)
    assert len(labels) == len(points)
    assert all(area.holds(label) for label in labels)
    for one, other in itertools.combinations(labels, 2):
        assert one.common(other) == 0


def test_a_label_with_room_around_it_is_beside_its_point(scripts):
    area = scripts.labels.Rectangle(0, 0, 600, 400)
    (label,) = scripts.labels.place_labels([(300.0, 200.0)], [(50.0, 9.0)], area)
    assert math.dist(label.nearest((300, 200)), (300, 200)) < 10
    assert label.common(scripts.labels.Rectangle(297, 197, 303, 203)) == 0


@pytest.fixture
def stack(scripts, tmp_path, monkeypatch):
    """A stack with two networks; the command writes what `says` has for each of them."""
    accuracy = scripts.accuracy
    models = [model("unet"), model("vgg19")]
    commands, says = [], {}

    async def listed(_address):
        return models

    def run(command, **_):
        commands.append(command)
        pattern = command[command.index("--json") + 1]
        names = [word for before, word in itertools.pairwise(command) if before == "--model"]
        for name in names:
            if name in says:
                write(Path(pattern.replace("{model}", name)), says[name])

    monkeypatch.setattr(accuracy, "_models", listed)
    monkeypatch.setattr(accuracy.subprocess, "run", run)
    monkeypatch.setattr(accuracy, "RESULTS", tmp_path / "accuracy")
    roots = {accuracy.DATA: Path("/data"), accuracy.RUNS: Path("/runs")}
    return SimpleNamespace(
        commands=commands, says=says, measure=lambda only: accuracy.measure(roots, "host:1", None, only)
    )


def test_a_network_that_could_not_be_measured_harms_no_other(stack, tmp_path):
    good = {"accuracy": 0.9, "partial": False, "failed": [], "error": None}
    stack.says |= {"unet": good, "vgg19": good | {"partial": True}}
    problems = stack.measure(["cells-unet", "cells-vgg19"])
    (command,) = stack.commands
    assert command.count("--model") == 2
    assert "/data/pbc/val" in command
    assert [problem.split()[0] for problem in problems] == ["cells-vgg19"]
    assert json.loads((tmp_path / "accuracy" / "cells-unet.json").read_text())["accuracy"] == 0.9
    assert not (tmp_path / "accuracy" / "cells-vgg19.json").exists()


def test_only_what_is_asked_for_is_measured(stack):
    good = {"accuracy": 0.9, "partial": False, "failed": [], "error": None}
    stack.says |= {"unet": good, "vgg19": good}
    assert stack.measure(["fields-vgg19"]) == []
    (command,) = stack.commands
    assert [word for before, word in itertools.pairwise(command) if before == "--model"] == ["vgg19"]
    with pytest.raises(SystemExit, match="there is no cells-vit to measure"):
        stack.measure(["cells-vit"])
