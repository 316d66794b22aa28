"""The command `hemaserve evaluate` against a gateway."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hemaserve.cli.main import app
from hemaserve.evaluation import extra

MIDDLE = (40, 40, 60, 60)
MONOCYTE = {"box": MIDDLE, "probabilities": {"monocyte": 1.0}}


@pytest.fixture
def run(gateway, tmp_path):
    def evaluate(*arguments: str):
        return CliRunner().invoke(
            app, ["evaluate", *arguments, "--address", gateway.address], env={"COLUMNS": "160"}
        )

    return evaluate


def test_cells_prints_a_table_and_writes_json(run, tmp_path, write, image):
    write("cells/MONOCYTE/1.png", image(cells=[MONOCYTE]))
    figures = tmp_path / "new" / "figures.json"
    result = run("cells", str(tmp_path / "cells"), "--model", "vit", "--json", str(figures))
    assert result.exit_code == 0, result.output
    assert "100.0%" in result.stdout
    assert "Monocyte" in result.stdout
    document = json.loads(figures.read_text())
    assert document["accuracy"] == 1.0
    assert document["provenance"]["classifier"]["name"] == "vit"
    assert document["settings"]["model"] == "vit"
    assert document["settings"]["types"] is None


def test_json_on_standard_output_stands_alone(run, tmp_path, write, image):
    write("cells/monocyte/1.png", image(cells=[MONOCYTE]))
    result = run("cells", str(tmp_path / "cells"), "--json", "-")
    assert json.loads(result.stdout)["n"] == 1


def test_each_of_several_models_writes_its_own_figures(run, gateway, tmp_path, write, image):
    write("cells/monocyte/1.png", image(cells=[MONOCYTE]))
    arguments = ("--model", "vit", "--model", "xception", "--model", "vit")
    places = (
        "--json",
        str(tmp_path / "new" / "{model}.json"),
        "--plots",
        str(tmp_path / "{model}" / "plots"),
    )
    result = run("cells", str(tmp_path / "cells"), *arguments, *places)
    assert result.exit_code == 0, result.output
    for model in ("vit", "xception"):
        document = json.loads((tmp_path / "new" / f"{model}.json").read_text())
        assert document["settings"]["model"] == document["provenance"]["classifier"]["name"] == model
        assert (tmp_path / model / "plots" / "confusion.svg").is_file()
    assert gateway.asked == 1


def test_types_that_the_model_cannot_answer_are_printed(run, tmp_path, write, image):
    write("cells/monocyte/1.png", image(middle={"probabilities": {"monocyte": 1.0}}))
    write("cells/basophil/2.png", image(middle={"probabilities": {"monocyte": 1.0}}))
    result = run("cells", str(tmp_path / "cells"), "--whole")
    assert result.exit_code == 0, result.output
    assert re.search(r"Basophil: the network cannot answer it\W+1 wrong", result.stdout)


def test_a_closed_set_is_given_by_names(run, tmp_path, write, image):
    write("cells/monocyte/1.png", image(cells=[MONOCYTE]))
    write("cells/basophil/1.png", image(cells=[MONOCYTE]))
    result = run("cells", str(tmp_path / "cells"), "--types", "mono,NEUTROPHILS", "--json", "-")
    assert json.loads(result.stdout)["settings"]["types"] == ["monocyte", "neutrophil"]
    assert json.loads(result.stdout)["n"] == 1


def test_detections_prints_a_table(run, tmp_path, write, image):
    write("images/val/1.png", image(cells=[{"box": MIDDLE, "kind": "rbc"}]))
    write("labels/val/1.txt", "1 0.5 0.5 0.2 0.2")
    result = run("detections", str(tmp_path), "--split", "val")
    assert result.exit_code == 0, result.output
    assert "mAP50" in result.stdout
    assert "RBC" in result.stdout


def test_fields_prints_a_table(run, tmp_path, write, image):
    write("images/1.png", image(cells=[MONOCYTE]))
    write(
        "annotations/1.xml",
        "<annotation><object><name>WBC</name><bndbox><xmin>41</xmin><ymin>41</ymin><xmax>60</xmax>"
        "<ymax>60</ymax></bndbox></object></annotation>",
    )
    write("wbc_types.csv", "image,wbc_types\n1,MONOCYTE\n")
    result = run("fields", str(tmp_path), "--json", "-")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["wbc_recall"], document["wbc_precision"], document["type_accuracy"]) == (1.0, 1.0, 1.0)


def test_leaves_are_read_from_file_names_and_figures_drawn(run, tmp_path, write, image):
    band = {"box": MIDDLE, "probabilities": {"neutrophil_band": 0.7, "neutrophil_segmented": 0.3}}
    write("cells/neutrophil/BNE_1.png", image(cells=[band]))
    write("cells/neutrophil/SNE_2.png", image(cells=[band]))
    plots = tmp_path / "new" / "plots"
    result = run("cells", str(tmp_path / "cells"), "--finer", "prefix", "--plots", str(plots), "--json", "-")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["leaves"]["band_segmented_accuracy"] == 0.5
    assert "band from segmented (of 2)" in result.stderr
    names = {path.name for path in plots.iterdir()}
    assert names == {"confusion.svg", "leaves.svg", "reliability.svg", "abstention.svg"}


def test_there_must_be_a_place_for_the_pictures_before_anything_is_asked(
    run, gateway, tmp_path, write, image
):
    write("cells/monocyte/1.png", image(cells=[MONOCYTE]))
    result = run("cells", str(tmp_path / "cells"), "--plots", str(write("file") / "plots"))
    assert result.exit_code == 2
    assert "--plots" in result.output
    assert gateway.asked == 0


def test_images_that_could_not_be_read_are_shown(run, tmp_path, write, image):
    write("cells/monocyte/1.png", image(cells=[MONOCYTE]))
    write("cells/monocyte/broken.png", image(reason="IMAGE_DAMAGED"))
    result = run("cells", str(tmp_path / "cells"))
    assert result.exit_code == 1
    assert "1 image could not be evaluated" in result.stdout
    assert "monocyte/broken.png: refused: image_damaged" in result.stdout
    assert "100.0%" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["cells", "{}/nowhere"], "nowhere"),
        (["cells", "{}/flowers"], "'rose' is named after no cell type"),
        (["cells", "{}/cells", "--types", "monocyte,rose"], "'rose'"),
        (["cells", "{}/cells", "--types", "monocyte"], "two types or more"),
        (["detections", "{}/cells"], "no folder 'images'"),
        (["detections", "{}/cells", "--kinds", "wbc,rose"], "known kinds are"),
        (["fields", "{}/cells"], "no folder 'images'"),
        (["cells", "{}/cells", "--in-flight", "0"], "--in-flight"),
        (["cells", "{}/cells", "--json", "{}/cells"], "--json"),
        (["cells", "{}/cells", "-m", "a", "-m", "b", "--json", "{}/c.json"], "a path with {model} in it"),
        (["cells", "{}/cells", "-m", "a", "-m", "b", "--json", "-"], "--json"),
        (["cells", "{}/cells", "-m", "a", "-m", "b", "--plots", "{}/plots"], "--plots"),
    ],
)
def test_wrong_arguments_are_usage_errors(run, gateway, tmp_path, write, image, arguments, message):
    write("cells/monocyte/1.png", image(cells=[MONOCYTE]))
    write("flowers/rose/1.png")
    result = run(*(argument.format(tmp_path) for argument in arguments))
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())
    assert gateway.asked == 0


def test_a_missing_extra_is_named_before_anything_is_asked(run, gateway, tmp_path, write, image, monkeypatch):
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(extra.importlib, "import_module", missing)
    write("cells/monocyte/1.png", image(cells=[MONOCYTE]))
    result = run("cells", str(tmp_path / "cells"))
    assert result.exit_code == 4
    assert "pip install 'hemaserve[evaluate]'" in " ".join(result.output.split())
    assert gateway.asked == 0


def test_an_error_of_the_stack_is_told_after_the_figures_so_far(run, tmp_path, write, image):
    write("cells/monocyte/1.png", image(cells=[MONOCYTE]))
    write("cells/monocyte/2.png", image(reason="BROKEN"))
    result = run("cells", str(tmp_path / "cells"), "--in-flight", "1")
    assert result.exit_code == 4
    assert "PARTIAL" in result.stdout
    assert "100.0%" in result.stdout
    assert "refused: broken" in result.stderr


def test_a_stack_that_is_not_there_is_told(tmp_path, write, image):
    write("cells/monocyte/1.png", image(cells=[MONOCYTE]))
    arguments = ["evaluate", "cells", str(tmp_path / "cells"), "--address", "127.0.0.1:1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 3
    assert "no HemaServe answers at 127.0.0.1:1" in result.stderr
    assert result.stdout == ""


def test_ctrl_c_prints_the_figures_so_far(gateway, tmp_path, write, image):
    for number in range(9):
        write(f"cells/monocyte/{number}.png", image(cells=[MONOCYTE]))
    gateway.answers_before_hold, gateway.held_wanted = 3, 2
    figures = tmp_path / "figures.json"
    command = [sys.executable, "-c", "from hemaserve.cli import app; app()", "evaluate", "cells"]
    options = ["--address", gateway.address, "--json", str(figures), "--in-flight", "2"]
    process = subprocess.Popen(
        [*command, str(tmp_path / "cells"), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "160"},
        cwd=Path.cwd(),
    )
    try:
        assert gateway.all_held.wait(timeout=60)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, stderr
    assert "PARTIAL" in stdout
    assert "Traceback" not in stderr
    document = json.loads(figures.read_text())
    assert (document["n"], document["partial"]) == (3, True)
