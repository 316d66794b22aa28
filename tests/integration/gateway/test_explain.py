"""Explanations through the gateway, the real classifier and the real Triton: maps matter, and lie where they say."""

import re

import numpy as np
import pytest

from hemaserve import synthetic
from hemaserve.cells import LEAF_TYPES, PRIMARY_TYPES, CellType, Kind
from hemaserve.client import Client, InvalidArgumentError, LocatedCell
from hemaserve.crops import CropEncoding, encode_crop
from hemaserve.evaluation.datasets import CellImage
from hemaserve.evaluation.explanations import evaluate_explanations
from hemaserve.geometry import Box
from hemaserve.imaging import cut_crop
from services.triton.client import TritonClient

from ..conftest import REPOSITORY

CLASSIFIERS = sorted(
    path.parent.name
    for path in REPOSITORY.glob("*/config.pbtxt")
    if 'key: "task" value: { string_value: "classification" }' in path.read_text()
)
NETWORKS = [name for name in CLASSIFIERS if (REPOSITORY / name / "1" / "model.onnx").exists()]
DEFAULT = ("ensemble", "efficientnet", "xception")
CELLS = 48
AROUND_PX = 80


@pytest.fixture
async def client(gateway_address):
    async with Client(gateway_address, timeout_s=120) as client:
        yield client


@pytest.fixture(scope="module")
def drawn_cells():
    """Generated fields with a white cell each: the image, and the cell's box."""
    cells = []
    for seed in range(CELLS):
        field = synthetic.generate_field(seed, white_cells=[PRIMARY_TYPES[seed % 6]])
        (white,) = (cell for cell in field.cells if cell.kind is Kind.WBC)
        cells.append((field.image, white))
    return cells


@pytest.fixture(scope="module")
def cell_images(drawn_cells, tmp_path_factory):
    """Images with one generated cell in the middle of each, as a folder of labelled cells has them."""
    folder = tmp_path_factory.mktemp("cells")
    images = []
    for number, (image, cell) in enumerate(drawn_cells):
        x, y = cell.box.center
        around = Box(x - AROUND_PX, y - AROUND_PX, x + AROUND_PX, y + AROUND_PX)
        path = folder / f"{number}.png"
        path.write_bytes(encode_crop(cut_crop(image, around, size=2 * AROUND_PX, margin=0), CropEncoding.PNG))
        images.append(CellImage(path, cell.cell_type, cell.cell_type))
    return images


def parameter(model, key):
    found = re.search(
        rf'key: "{key}" value: {{ string_value: "([^"]+)" }}',
        (REPOSITORY / model / "config.pbtxt").read_text(),
    )
    assert found is not None
    return found[1]


async def test_every_classifier_says_that_it_can_be_explained(client):
    listed = {model.name: model for model in await client.list_models()}
    assert {name: listed[name].explainable for name in CLASSIFIERS} == dict.fromkeys(CLASSIFIERS, True)
    assert not listed["yolov8n"].explainable


@pytest.mark.parametrize("model", CLASSIFIERS)
async def test_blotting_out_what_the_map_marks_moves_the_answer_more_than_blotting_out_elsewhere(
    client, cell_images, model
):
    done = await evaluate_explanations(client, cell_images, model=model, limit=CELLS)
    report = done.report
    assert (done.failed, done.error) == ([], None)
    assert report.n >= 0.9 * CELLS
    assert report.degraded == 0
    # The lower ends of the intervals over cells: no lucky few carry it.
    assert report.marked_than_least.log_odds_ci95[0] > 0
    # On generated cells, strangers to all of them, the coarsest maps beat chance by too little for so few cells.
    assert report.marked_than_random.log_odds > 0
    if model in DEFAULT:
        assert report.marked_than_random.log_odds_ci95[0] > 0
    assert report.marked_than_least.probability > 0
    assert report.marked_than_least.more > 0.5


@pytest.mark.parametrize("network", NETWORKS)
async def test_a_networks_evidence_adds_up_to_what_it_says(triton, drawn_cells, network):
    temperature, margin = (float(parameter(network, key)) for key in ("temperature", "crop_margin"))
    async with TritonClient(triton) as asked:
        size = (await asked.model_config(network)).inputs[0].dims[0]
        crops = np.stack(
            [cut_crop(image, cell.box, size=size, margin=margin) for image, cell in drawn_cells[:32]]
        )
        answer = await asked.infer(network, {"crops": crops}, ["probabilities", "evidence"])
    logits = temperature * np.log(np.maximum(answer["probabilities"].astype(np.float64), 1e-7))
    sums = answer["evidence"].astype(np.float64).mean(axis=(2, 3))
    assert sums.shape == (len(crops), len(LEAF_TYPES))
    # They differ by a constant of each leaf, and by one of each crop that the softmax takes away.
    left = _without_means(logits - sums)
    # bfloat16 rounds what both are made of by up to 2**-9 of itself.
    assert np.abs(left).max() < 0.05 * np.abs(_without_means(sums)).max()


def _without_means(table):
    return table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()


@pytest.mark.parametrize("model", CLASSIFIERS)
async def test_a_map_lies_where_it_says(client, drawn_cells, model):
    (size,) = (listed.input_size_px for listed in await client.list_models() if listed.name == model)
    for image, cell in drawn_cells[:4]:
        png = synthetic.encode_png(image)
        in_field = await client.explain_cell(LocatedCell(png, "mine", cell.box), model=model)
        assert in_field.cell_id == "mine"
        area = in_field.explanation.area
        assert area.width == pytest.approx(area.height)
        assert area.center == pytest.approx(cell.box.center, abs=0.01)
        crop = encode_crop(cut_crop(image, area, size=size, margin=0), CropEncoding.PNG)
        alone = await client.explain_cell(crop, model=model, cell_type=in_field.explanation.type)
        assert alone.explanation.heat.shape == in_field.explanation.heat.shape
        np.testing.assert_allclose(alone.explanation.heat, in_field.explanation.heat, atol=0.15)


@pytest.mark.parametrize("model", CLASSIFIERS)
async def test_the_name_is_the_one_that_classifying_gives(client, drawn_cells, model):
    image, cell = drawn_cells[0]
    located = LocatedCell(synthetic.encode_png(image), box=cell.box)
    explained = await client.explain_cell(located, model=model)
    (named,) = await client.classify_cells([located], model=model)
    said = explained.classification
    assert (said.type, said.identified) == (named.classification.type, named.classification.identified)
    assert explained.explanation.type is said.type
    assert said.probability == pytest.approx(named.classification.probability, abs=5e-3)
    assert explained.provenance == named.provenance


async def test_types_have_maps_of_their_own(client, drawn_cells):
    image, cell = drawn_cells[0]
    located = LocatedCell(synthetic.encode_png(image), box=cell.box)
    maps = [
        (await client.explain_cell(located, cell_type=cell_type)).explanation
        for cell_type in (CellType.NEUTROPHIL, CellType.LYMPHOCYTE)
    ]
    assert [found.type for found in maps] == [CellType.NEUTROPHIL, CellType.LYMPHOCYTE]
    assert np.abs(maps[0].heat - maps[1].heat).max() > 0.1


async def test_a_type_that_no_network_answers_is_refused(client, drawn_cells):
    image, cell = drawn_cells[0]
    located = LocatedCell(synthetic.encode_png(image), box=cell.box)
    with pytest.raises(InvalidArgumentError, match="blast") as caught:
        await client.explain_cell(located, cell_type=CellType.BLAST)
    assert caught.value.violations[0].field == "type"
