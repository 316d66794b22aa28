"""The leukemia screen by the command, with the committed networks, in a stack that loads them when first asked."""

import json

import pytest

from hemaserve import synthetic
from hemaserve.cli.exits import ExitCode

pytestmark = pytest.mark.e2e

CLASSES = ("benign", "early", "pre", "pro")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Generated fields in one folder a class; what the screen says of a drawing is nobody's business."""
    root = tmp_path_factory.mktemp("screen")
    for seed, name in enumerate(CLASSES):
        (root / name).mkdir()
        field = synthetic.generate_field(seed, white_cells=3)
        (root / name / "field.png").write_bytes(synthetic.encode_png(field.image))
    return root


def test_a_screened_smear_has_findings_of_its_fields_and_white_cells(hemaserve, folder):
    files = [folder / name / "field.png" for name in CLASSES]
    done = hemaserve("analyze", *files, "--screen", "--json", "-")
    assert done.returncode == ExitCode.OK, done.stderr
    document = json.loads(done.stdout)
    assert {source["name"] for source in document["provenance"]["screens"]} == {
        "leukemia_field",
        "leukemia_cell",
    }
    fields = document["fields"]
    assert [set(field["screen"]["classes"]) for field in fields] == [set(CLASSES)] * len(files)
    cells = [cell for field in fields for cell in field["cells"]]
    assert cells
    for said in [*(field["screen"] for field in fields), *(cell["screen"] for cell in cells)]:
        assert sum(said["classes"].values()) == pytest.approx(1, abs=1e-3)
    screen = document["screen"]
    assert screen["fields_screened"] == len(files)
    assert screen["cells_screened"] == len(cells)
    assert screen["cells_flagged"] == sum(cell["screen"]["flagged"] for cell in cells)
    assert "never a diagnosis" in " ".join(done.stderr.split())


def test_without_the_option_nothing_is_said_of_leukemia(hemaserve, folder):
    done = hemaserve("analyze", folder / "pre" / "field.png", "--json", "-")
    document = json.loads(done.stdout)
    assert document["screen"] is None
    assert document["fields"][0]["screen"] is None
    assert "leukemia" not in done.stderr.lower()


def test_the_screen_is_measured_on_one_folder_a_class(hemaserve, folder):
    done = hemaserve("evaluate", "screen", folder, "--json", "-")
    assert done.returncode == ExitCode.OK, done.stderr
    figures = json.loads(done.stdout)
    assert figures["n"] == len(CLASSES)
    assert (figures["malignant"], figures["benign"]) == (3, 1)
    keys = ("accuracy", "sensitivity", "specificity", "auroc", "per_class", "confusion", "cells", "seconds")
    assert all(figures[key] is not None for key in keys)
    assert figures["cells"]["n"] + figures["cells"]["benign_n"] > 0
