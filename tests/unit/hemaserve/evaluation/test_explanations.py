"""Evaluating explanations: what is blotted out, the figures, and the command."""

import io
import json
from concurrent import futures

import grpc
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from hemaserve.cells import CellType
from hemaserve.cli.main import app
from hemaserve.crops import CropEncoding, encode_crop
from hemaserve.evaluation import blotting
from hemaserve.evaluation.explanation_report import (
    BlottedCell,
    explanation_report,
    log_odds,
    type_probability,
)
from hemaserve.heat_map import scaled
from hemaserve.imaging import decode
from hemaserve.v1 import cells_pb2, gateway_pb2, gateway_pb2_grpc

SEED = st.integers(0, 2**32 - 1)
SIZE = st.integers(8, 60)
GRID = st.tuples(st.integers(1, 8), st.integers(1, 8))


def heat_map(seed, grid):
    random = np.random.default_rng(seed)
    return (random.random(grid) * (random.random(grid) < 0.6)).astype(np.float32)


@given(SEED, GRID, SIZE)
def test_every_blot_takes_the_same_share(seed, grid, size):
    random = np.random.default_rng(seed)
    marked = blotting.most_marked(heat_map(seed, grid), size, random)
    masks = [
        marked,
        blotting.least_marked(heat_map(seed, grid), size, random),
        blotting.middle(size),
        blotting.elsewhere(marked, random),
    ]
    assert {mask.shape for mask in masks} == {(size, size)}
    assert {int(mask.sum()) for mask in masks} == {round(0.2 * size * size)}


@given(SEED, GRID, SIZE)
def test_what_is_marked_most_is_hotter_than_all_else_and_the_least_is_colder(seed, grid, size):
    heat = heat_map(seed, grid)
    pixels = scaled(heat, size, size)
    random = np.random.default_rng(seed)
    most, least = blotting.most_marked(heat, size, random), blotting.least_marked(heat, size, random)
    assert pixels[most].min() >= pixels[~most].max()
    assert pixels[least].max() <= pixels[~least].min()


def test_among_places_marked_alike_it_takes_patches_and_not_always_the_same():
    heat = np.zeros((3, 3), np.float32)
    masks = [blotting.most_marked(heat, 40, np.random.default_rng(seed)) for seed in range(8)]
    assert len({mask.tobytes() for mask in masks}) == 8
    for mask in masks:
        borders = np.count_nonzero(mask[:, 1:] != mask[:, :-1])
        assert borders < mask.sum() / 3
    again = blotting.most_marked(heat, 40, np.random.default_rng(0))
    np.testing.assert_array_equal(again, masks[0])


def test_the_middle_is_a_disc_around_the_centre():
    mask = blotting.middle(50)
    assert mask[25, 25]
    assert not mask[0].any()
    rows, columns = np.nonzero(mask)
    assert rows.mean() == pytest.approx(24.5, abs=0.5)
    assert columns.mean() == pytest.approx(24.5, abs=0.5)


def test_a_blot_has_the_colour_of_the_crops_edge_and_leaves_the_rest():
    crop = np.random.default_rng(0).integers(0, 256, (20, 20, 3), np.uint8)
    crop[[0, -1]] = crop[:, [0, -1]] = (240, 200, 180)
    before = crop.copy()
    mask = blotting.middle(20)
    found = blotting.blotted(crop, mask)
    np.testing.assert_array_equal(crop, before)
    assert (found[mask] == (240, 200, 180)).all()
    np.testing.assert_array_equal(found[~mask], crop[~mask])


def cells(count=40, *, marked=0.2, least=0.9, random=(0.8, 0.7), middle=0.1):
    return [BlottedCell(0.95, marked, least, random, middle) for _ in range(count)]


def report(found, **changes):
    return explanation_report(
        found, **{"unmarked": 0, "fallbacks": 0, "degraded": 0, "seconds": 1.0, **changes}
    )


def test_falls_and_comparisons_are_means_over_cells():
    found = report(cells(20) + cells(20, marked=0.6), unmarked=3)
    assert (found.n, found.unmarked, found.share) == (40, 3, 0.2)
    assert found.probability == pytest.approx(0.95)
    assert found.marked.probability == pytest.approx((0.75 + 0.35) / 2)
    assert found.least.probability == pytest.approx(0.05)
    assert found.random.probability == pytest.approx(0.2)
    assert found.random.log_odds == pytest.approx(log_odds(0.95) - (log_odds(0.8) + log_odds(0.7)) / 2)
    assert found.marked_than_least.probability == pytest.approx(0.55 - 0.05)
    low, high = found.marked.probability_ci95
    assert 0.35 < low < 0.55 < high < 0.75
    assert (found.marked_than_least.more, found.marked_than_middle.more) == (1.0, 0.0)


def test_a_map_that_marks_the_wrong_places_is_told_so():
    found = report(cells(marked=0.94, least=0.2))
    assert found.marked_than_least.probability < 0
    assert found.marked_than_least.log_odds_ci95[1] < 0
    assert found.marked_than_least.more == 0


def test_equal_falls_are_not_more():
    found = report(cells(marked=0.5, least=0.5))
    assert found.marked_than_least.more == 0
    assert found.marked_than_least.log_odds == 0


def test_the_intervals_are_the_same_every_time():
    random = np.random.default_rng(0)
    found = [BlottedCell(0.9, float(p), 0.9, (0.9,), 0.5) for p in random.random(30)]
    assert report(found) == report(found)


@pytest.mark.parametrize("probability", [0.0, 1.0, 0.5])
def test_log_odds_are_finite(probability):
    assert np.isfinite(log_odds(probability))
    assert log_odds(probability) == pytest.approx(-log_odds(1 - probability))


def test_a_types_probability_is_the_sum_of_its_leaves():
    leaves = {CellType.NEUTROPHIL_BAND: 0.3, CellType.NEUTROPHIL_SEGMENTED: 0.5, CellType.MONOCYTE: 0.2}
    assert type_probability(leaves, CellType.NEUTROPHIL) == pytest.approx(0.8)
    assert type_probability(leaves, CellType.NEUTROPHIL_BAND) == pytest.approx(0.3)
    assert type_probability(leaves, CellType.BASOPHIL) == 0


class DarkCells(gateway_pb2_grpc.SmearServiceServicer):
    """Takes the dark spot of a cell for a monocyte, and everything without one for a lymphocyte."""

    def __init__(self):
        self.wrong = False
        self.blank = False
        self.located = True
        self.analysed = 0

    def AnalyzeField(self, request, context):
        self.analysed += 1
        image = decode(request.field.image)
        height, width = image.shape[:2]
        result = gateway_pb2.FieldResult(width_px=width, height_px=height)
        if self.located:
            cell = result.cells.add()
            cell.detection.kind = cells_pb2.CELL_KIND_WBC
            cell.detection.box.x1_px, cell.detection.box.y1_px = width, height
            cell.crop.encoding, cell.crop.size_px = request.options.crop_encoding, width
            cell.crop.data = encode_crop(image, CropEncoding.PNG)
        return gateway_pb2.AnalyzeFieldResponse(result=result)

    def ExplainCell(self, request, context):
        image = decode(request.cell.image)
        dark = image.min(axis=2) < 60
        rows = np.array_split(np.arange(len(dark)), 8)
        grid = np.array([[dark[np.ix_(y, x)].mean() for x in rows] for y in rows])
        heat = np.zeros_like(grid) if self.blank else 1 - grid if self.wrong else grid
        return gateway_pb2.ExplainCellResponse(
            classification=_said(image),
            explanation=cells_pb2.Explanation(
                type=cells_pb2.CELL_TYPE_MONOCYTE,
                width=8,
                height=8,
                values=(255 * heat).astype(np.uint8).tobytes(),
            ),
            provenance=cells_pb2.Provenance(classifier=cells_pb2.ModelProvenance(name=request.model or "d")),
        )

    def ClassifyCells(self, request_iterator, context):
        for request in request_iterator:
            yield gateway_pb2.ClassifyCellsResponse(
                cells=[
                    gateway_pb2.NamedCell(classification=_said(decode(cell.image))) for cell in request.cells
                ]
            )


def _said(image):
    share = float((image.min(axis=2) < 60).mean())
    monocyte = min(0.02 + 5 * share, 0.98)
    leaves = {cells_pb2.CELL_TYPE_MONOCYTE: monocyte, cells_pb2.CELL_TYPE_LYMPHOCYTE: 1 - monocyte}
    return cells_pb2.Classification(
        type=cells_pb2.CELL_TYPE_MONOCYTE,
        primary_type=cells_pb2.CELL_TYPE_MONOCYTE,
        leaf_probabilities=[
            cells_pb2.TypeProbability(type=leaf, probability=value) for leaf, value in leaves.items()
        ],
    )


@pytest.fixture
def dark():
    servicer = DarkCells()
    server = grpc.server(futures.ThreadPoolExecutor(8))
    gateway_pb2_grpc.add_SmearServiceServicer_to_server(servicer, server)
    servicer.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield servicer
    server.stop(None)


@pytest.fixture
def folder(tmp_path):
    """Twelve images a type, each with a dark spot somewhere off the middle."""
    random = np.random.default_rng(0)
    for name in ("monocyte", "basophil"):
        (tmp_path / "cells" / name).mkdir(parents=True)
        for number in range(12):
            image = np.full((48, 48, 3), 230, np.uint8)
            y, x = random.integers(3, 33, 2)
            image[y : y + 12, x : x + 12] = 40
            file = io.BytesIO()
            Image.fromarray(image).save(file, "PNG")
            (tmp_path / "cells" / name / f"{number}.png").write_bytes(file.getvalue())
    return tmp_path / "cells"


@pytest.fixture
def run(dark, folder):
    def evaluate(*words):
        words = ["evaluate", "explanations", str(folder), *words, "--address", dark.address]
        return CliRunner().invoke(app, words, env={"COLUMNS": "160"})

    return evaluate


def test_a_map_that_marks_what_matters_is_found_to(run, tmp_path):
    done = run("--json", str(tmp_path / "figures.json"), "--model", "vit")
    assert done.exit_code == 0, done.output
    assert "what the map marks most" in done.stdout
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["n"], figures["unmarked"], figures["fallbacks"]) == (24, 0, 0)
    assert figures["marked"]["probability"] > 0.25
    assert figures["least"]["probability"] == pytest.approx(0, abs=1e-6)
    assert figures["marked_than_random"]["log_odds_ci95"][0] > 0
    assert figures["marked_than_least"]["more"] == 1.0
    assert figures["settings"] == {"model": "vit", "site_profile": None, "limit": 200}
    assert figures["provenance"]["classifier"]["name"] == "vit"


def test_a_map_that_marks_the_opposite_is_found_out(run, dark):
    dark.wrong = True
    figures = json.loads(run("--json", "-").stdout)
    assert figures["marked_than_least"]["log_odds_ci95"][1] < 0
    assert figures["marked_than_random"]["log_odds_ci95"][1] < 0


def test_a_limit_takes_all_types_and_always_the_same_cells(run, dark):
    one, other = (json.loads(run("--json", "-", "--limit", "6").stdout) for _ in range(2))
    assert one["n"] == 6
    assert dark.analysed == 12
    assert [one[key] for key in ("marked", "random")] == [other[key] for key in ("marked", "random")]


def test_cells_without_a_map_are_counted_apart(run, dark):
    dark.blank = True
    figures = json.loads(run("--json", "-").stdout)
    assert figures["n"] == 0


def test_where_no_cell_is_found_the_middle_is_taken(run, dark):
    dark.located = False
    figures = json.loads(run("--json", "-").stdout)
    assert figures["fallbacks"] > 0


def test_a_wrong_limit_is_a_usage_error(run):
    assert run("--limit", "0").exit_code == 2
