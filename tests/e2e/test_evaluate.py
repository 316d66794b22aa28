"""`hemaserve evaluate` against a whole stack, on generated images whose labels are known."""

import csv
import json

import pytest
from PIL import Image

from hemaserve import synthetic
from hemaserve.cells import CellType, Kind
from hemaserve.cli.exits import ExitCode

pytestmark = pytest.mark.e2e

TYPES = (CellType.NEUTROPHIL_SEGMENTED, CellType.LYMPHOCYTE, CellType.EOSINOPHIL)


@pytest.fixture(scope="module")
def fields():
    """Two fields for each type, with three white cells of that type in each."""
    return [
        synthetic.generate_field(seed, white_cells=[cell_type] * 3)
        for seed, cell_type in enumerate(TYPES * 2)
    ]


def test_fields_are_evaluated_with_calibration_abstention_and_pictures(hemaserve, fields, tmp_path):
    for folder in ("images", "annotations"):
        (tmp_path / "lab" / folder).mkdir(parents=True)
    with (tmp_path / "lab" / "wbc_types.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["image", "wbc_types"])
        for number, field in enumerate(fields):
            white = [cell for cell in field.cells if cell.kind is Kind.WBC]
            Image.fromarray(field.image).save(tmp_path / "lab" / "images" / f"{number}.png")
            objects = "".join(
                f"<object><name>WBC</name><bndbox><xmin>{cell.box.x0 + 1}</xmin><ymin>{cell.box.y0 + 1}</ymin>"
                f"<xmax>{cell.box.x1}</xmax><ymax>{cell.box.y1}</ymax></bndbox></object>"
                for cell in white
            )
            annotation = tmp_path / "lab" / "annotations" / f"{number}.xml"
            annotation.write_text(f"<annotation>{objects}</annotation>")
            rows.writerow([number, white[0].cell_type])
    done = hemaserve("evaluate", "fields", "lab", "--json", "figures.json", "--plots", "plots")
    assert done.returncode == ExitCode.OK, done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["wbc_labelled"] == 18
    assert figures["wbc_recall"] >= 0.9
    assert figures["calibration"]["n"] == figures["typed"]
    assert [point["share"] for point in figures["abstention"]] == [0.01, 0.02, 0.05, 0.1, 0.15, 0.2]
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"reliability.svg", "abstention.svg"}


def test_cells_are_evaluated_down_to_the_leaves(hemaserve, fields, tmp_path):
    for number, field in enumerate(fields):
        cell = next(cell for cell in field.cells if cell.kind is Kind.WBC)
        folder = tmp_path / "cells" / ("neutrophil" if "neutrophil" in cell.cell_type else cell.cell_type)
        folder.mkdir(parents=True, exist_ok=True)
        x, y = cell.box.center
        around = (x - 80, y - 80, x + 80, y + 80)
        finest = "seg" if "neutrophil" in cell.cell_type else cell.cell_type
        Image.fromarray(field.image).crop([round(edge) for edge in around]).save(
            folder / f"{finest}_{number}.png"
        )
    done = hemaserve("evaluate", "cells", "cells", "--finer", "prefix", "--json", "-")
    assert done.returncode == ExitCode.OK, done.stderr
    figures = json.loads(done.stdout)
    assert figures["n"] == figures["leaves"]["n"] == figures["calibration"]["n"] == 6
    assert figures["leaves"]["band_segmented"] == 2
    assert figures["provenance"]["detector"] is not None


def test_several_networks_are_evaluated_at_once_on_images_that_are_the_crop(hemaserve, fields, tmp_path):
    for number, field in enumerate(fields[:3]):
        (tmp_path / "crops" / "neutrophil").mkdir(parents=True, exist_ok=True)
        image = Image.fromarray(field.image).crop((0, 0, 120 + 20 * number, 120))
        image.save(tmp_path / "crops" / "neutrophil" / f"{number}.png")
    models = ("--model", "ensemble", "--model", "vit")
    done = hemaserve("evaluate", "cells", "crops", "--whole", *models, "--json", "{model}.json")
    assert done.returncode == ExitCode.OK, done.stderr
    for model in ("ensemble", "vit"):
        figures = json.loads((tmp_path / f"{model}.json").read_text())
        assert (figures["n"], figures["fallbacks"]) == (3, 0)
        assert figures["settings"] | {"model": model, "whole": True} == figures["settings"]
        assert figures["provenance"]["classifier"]["name"] == model
        assert figures["provenance"]["detector"] is None
        assert figures["unanswerable"] == {}


def test_explanations_are_evaluated(hemaserve, fields, tmp_path):
    for number, field in enumerate(fields):
        cell = next(cell for cell in field.cells if cell.kind is Kind.WBC)
        folder = tmp_path / "cells" / cell.cell_type
        folder.mkdir(parents=True, exist_ok=True)
        x, y = cell.box.center
        around = (x - 80, y - 80, x + 80, y + 80)
        Image.fromarray(field.image).crop([round(edge) for edge in around]).save(folder / f"{number}.png")
    done = hemaserve("evaluate", "explanations", "cells", "--limit", "5", "--json", "figures.json")
    assert done.returncode == ExitCode.OK, done.stderr
    assert "what the map marks most" in done.stdout
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["n"] + figures["unmarked"] == 5
    assert figures["settings"]["limit"] == 5
    assert figures["marked"].keys() == figures["least"].keys()
