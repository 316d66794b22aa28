"""The command against a whole stack: what was put in comes back."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from hemaserve import synthetic
from hemaserve.cells import Kind
from hemaserve.cli.exits import ExitCode
from hemaserve.geometry import Box
from hemaserve.picture import canvas_size

pytestmark = pytest.mark.e2e

DOCUMENT_KEYS = {
    *("schema", "notice", "result_id", "revision", "status", "smear_id", "specimen", "differential", "end"),
    *("target", "fields_counted", "failed_field_ids", "provenance", "fields", "failed"),
}
FIELD_KEYS = {
    "file",
    "field_id",
    "width_px",
    "height_px",
    "cells",
    "kind_counts",
    "image_sha256",
    "provenance",
}
CELL_KEYS = {"cell_id", "box", "kind", "score", "classification", "counted_elsewhere"}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """Generated fields and what is in them, by file name."""
    folder = tmp_path_factory.mktemp("sample")
    fields = {f"field-{seed}.png": synthetic.generate_field(seed, white_cells=4) for seed in range(6)}
    for name, field in fields.items():
        (folder / name).write_bytes(synthetic.encode_png(field.image))
    return folder, fields


def test_placed_white_cells_come_back_where_they_are(hemaserve, sample):
    folder, fields = sample
    done = hemaserve("analyze", folder, "--json", "-")
    assert done.returncode == ExitCode.OK, done.stderr
    placed = found = extra = 0
    for result in json.loads(done.stdout)["fields"]:
        field = fields[result["file"].rpartition("/")[2]]
        seen = [Box(**cell["box"]) for cell in result["cells"]]
        white = [cell.box for cell in field.cells if cell.kind is Kind.WBC]
        placed += len(white)
        found += sum(any(box.iou(other) > 0.4 for other in seen) for box in white)
        extra += sum(not any(box.iou(other) > 0.4 for other in white) for box in seen)
    assert placed == 24
    assert found >= 0.9 * placed
    assert extra <= 0.1 * placed


def test_the_json_has_everything_with_provenance(hemaserve, sample, tmp_path):
    folder, fields = sample
    done = hemaserve("analyze", folder / "field-*.png", "--json", "new/result.json", "--specimen", "A-1")
    assert done.returncode == ExitCode.OK, done.stderr
    document = json.loads((tmp_path / "new/result.json").read_text())
    assert document.keys() >= DOCUMENT_KEYS
    assert (document["status"], document["specimen"]) == ("preliminary", "A-1")
    assert document["fields_counted"] == len(document["fields"]) == len(fields)
    assert all(field.keys() >= FIELD_KEYS for field in document["fields"])
    assert all(cell.keys() >= CELL_KEYS for field in document["fields"] for cell in field["cells"])
    assert len(document["provenance"]["detector"]["sha256"]) == 64
    counts = document["differential"]
    cells = [cell for field in document["fields"] for cell in field["cells"]]
    identified = sum(cell["classification"]["identified"] for cell in cells)
    assert counts["unidentified"] == len(cells) - identified


def test_the_table_says_what_it_is_and_shows_the_unidentified(hemaserve, sample):
    folder, _ = sample
    done = hemaserve("analyze", folder / "field-1.png")
    assert done.returncode == ExitCode.OK, done.stderr
    for words in ("Neutrophil", "95% limits", "Unidentified", "not a medical device", "1 field counted"):
        assert words in done.stdout


def test_pictures_have_the_size_of_the_field_and_a_strip(hemaserve, sample, tmp_path):
    folder, fields = sample
    done = hemaserve("analyze", folder, "--picture", "pictures")
    assert done.returncode == ExitCode.OK, done.stderr
    pictures = sorted((tmp_path / "pictures").iterdir())
    assert len(pictures) == len(fields)
    with Image.open(pictures[0]) as picture:
        assert picture.size == canvas_size(640, 480)
        original = fields["field-0.png"].image
        assert (np.asarray(picture)[:480, :640] != original).any()


def test_cells_are_explained_beside_the_annotated_pictures(hemaserve, sample, tmp_path):
    folder, _ = sample
    done = hemaserve(
        *("analyze", folder / "field-1.png", "--explain", "--picture", "pictures", "--json", "result.json")
    )
    assert done.returncode == ExitCode.OK, done.stderr
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert names == {"field-1.annotated.png", "field-1.explained.png"}
    (field,) = json.loads((tmp_path / "result.json").read_text())["fields"]
    assert field["explanations"] == "pictures/field-1.explained.png"
    with Image.open(tmp_path / "pictures" / "field-1.explained.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    # Orange is no colour of the stain: red far above blue, and dark.
    assert ((pixels[..., 0] - pixels[..., 2] > 100) & (pixels[..., 1] < 150)).any()


def test_a_network_that_is_not_loaded_yet_answers_and_explains_within_the_usual_deadline(
    hemaserve, sample, tmp_path
):
    folder, _ = sample
    listed = json.loads(hemaserve("models", "--json").stdout)
    assert {"vgg19", "comparative_ensemble"} <= {model["name"] for model in listed if model["on_request"]}
    asked = ("--model", "comparative_ensemble", "--explain", "--picture", "pictures", "--json", "result.json")
    done = hemaserve("analyze", folder / "field-1.png", *asked)
    assert done.returncode == ExitCode.OK, done.stderr
    made = json.loads((tmp_path / "result.json").read_text())["provenance"]
    assert made["classifier"]["name"] == "comparative_ensemble"
    assert {member["name"] for member in made["members"]} == {"vgg19", "xception", "unet"}
    assert (tmp_path / "pictures" / "field-1.explained.png").exists()


def test_bad_files_are_told_of_and_cost_the_others_nothing(hemaserve, sample, tmp_path):
    folder, _ = sample
    (tmp_path / "text.png").write_text("this is no image")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "half.png").write_bytes((folder / "field-2.png").read_bytes()[:5000])
    bad = [tmp_path / name for name in ("text.png", "empty.jpg", "half.png")]
    done = hemaserve("analyze", bad[0], folder / "field-1.png", *bad[1:], "--json", "result.json")
    assert done.returncode == ExitCode.INCOMPLETE
    document = json.loads((tmp_path / "result.json").read_text())
    assert document["fields_counted"] == 1
    assert [item["file"] for item in document["failed"]] == [str(path) for path in bad]
    assert all(item["code"] == "INVALID_ARGUMENT" and item["reason"] for item in document["failed"])
    assert all(path.name in done.stdout for path in bad)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flag", "name", "loaded", "when_asked"),
    [
        ("--model", "no-such-model", "ensemble", "inceptionv3"),
        ("--detector-model", "inceptionv3", "yolov8n", "yolov5n"),
    ],
)
def test_an_unknown_model_is_a_wrong_argument_and_those_there_are_are_named(
    hemaserve, sample, flag, name, loaded, when_asked
):
    folder, _ = sample
    done = hemaserve("analyze", folder / "field-1.png", flag, name)
    assert done.returncode == ExitCode.USAGE, done.stderr
    said = " ".join(done.stderr.split())
    assert re.search(
        rf"model '{name}'; available: [^;]*{loaded}[^;]*; loaded when asked for: .*{when_asked}", said
    )
    assert "The models are listed by: hemaserve models" in said
    listed = json.loads(hemaserve("models", "--json").stdout)
    assert "inceptionv3" in {model["name"] for model in listed if model["on_request"]}


def test_every_classification_model_can_be_named(hemaserve, sample, ensemble_members):
    folder, _ = sample
    for model in (*ensemble_members, "ensemble"):
        done = hemaserve("analyze", folder / "field-1.png", "--model", model, "--json", "-")
        assert done.returncode == ExitCode.OK, done.stderr
        assert json.loads(done.stdout)["provenance"]["classifier"]["name"] == model


def test_the_models_are_listed_with_licence_and_digest(hemaserve, ensemble_members):
    done = hemaserve("models", "--json")
    assert done.returncode == ExitCode.OK, done.stderr
    listed = json.loads(done.stdout)
    models = {model["name"]: model for model in listed if not model["on_request"]}
    assert {"yolov8n", *ensemble_members, "ensemble"} <= models.keys()
    assert all(model["ready"] and model["licence"] and model["source"]["sha256"] for model in models.values())
    assert "AGPL" in models["yolov8n"]["licence"]
    assert "yolov8n" in hemaserve("models").stdout
    when_asked = {model["name"] for model in listed if model["on_request"]}
    assert "inceptionv3" in when_asked
    assert not [name for name in when_asked if name.endswith("vote")]


def test_the_doctor_finds_the_stack_well(hemaserve, stack):
    done = hemaserve("doctor", stack.address, "--within", "20", "--json")
    findings = json.loads(done.stdout)["findings"]
    assert done.returncode == ExitCode.OK, findings
    assert {finding["state"] for finding in findings} == {"well"}
    assert "0 networks" not in done.stdout


def test_health_says_ready(hemaserve):
    done = hemaserve("health")
    assert (done.returncode, "is ready" in done.stdout) == (ExitCode.OK, True)


def test_the_demo_uses_the_running_stack_and_says_that_its_sample_is_synthetic(hemaserve, tmp_path):
    done = hemaserve("demo")
    assert done.returncode == ExitCode.OK, done.stderr
    assert "Using the stack that runs" in done.stderr
    assert "sample is synthetic" in done.stdout
    assert len(list((tmp_path / "out/demo").glob("*.png"))) == 8
    assert (tmp_path / "out/demo/result.json").exists()


def test_the_demo_takes_a_folder_of_other_fields(hemaserve, field_files, tmp_path):
    folder = tmp_path / "fields"
    folder.mkdir()
    for path in field_files[:3]:
        (folder / path.name).write_bytes(path.read_bytes())
    done = hemaserve("demo", "--fields", folder, "--out", "there")
    assert done.returncode == ExitCode.OK, done.stderr
    assert "synthetic" not in done.stdout.replace("synthetic_", "")
    assert len(list((tmp_path / "there").glob("*.png"))) == 3
    cells = [field["cells"] for field in json.loads((tmp_path / "there/result.json").read_text())["fields"]]
    assert all(cells)
