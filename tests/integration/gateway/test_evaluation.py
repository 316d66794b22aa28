"""What the evaluation of single cells asks in parts is what `AnalyzeField` says of them."""

import io

import pytest
from PIL import Image

from hemaserve.cells import CellType, Kind
from hemaserve.client import Client
from hemaserve.evaluation.cells import name_cell
from hemaserve.evaluation.datasets import CellImage
from hemaserve.evaluation.locating import CentralCell
from hemaserve.evaluation.matching import central_box

SIDE_PX = 260


@pytest.fixture
async def client(gateway_address):
    async with Client(gateway_address, timeout_s=240) as client:
        yield client


@pytest.fixture
async def cell_images(client, images, tmp_path):
    """Images with one white cell in the middle, cut out of fields, and one with none."""
    found = []
    for number, data in enumerate(images[:6]):
        field = await client.detect_cells(data, kinds=[Kind.WBC])
        centers = [cell.box.center for cell in field.detections[:1]]
        for x, y in [*centers, *([(0, 0)] if number == 0 else [])]:
            edges = (x - SIDE_PX / 2, y - SIDE_PX / 2, x + SIDE_PX / 2, y + SIDE_PX / 2)
            path = tmp_path / f"{number}-{x:.0f}.png"
            Image.open(io.BytesIO(data)).convert("RGB").crop([round(edge) for edge in edges]).save(path)
            found.append(CellImage(path, CellType.NEUTROPHIL, CellType.NEUTROPHIL))
    return found


@pytest.mark.parametrize("model", ["ensemble", "vit"])
async def test_the_cell_is_the_one_of_the_analysed_field_and_named_as_there(client, cell_images, model):
    locator = CentralCell(client)
    in_the_middle = 0
    for image in cell_images:
        data = image.path.read_bytes()
        field = await client.analyze_field(data, model=model, kinds=(Kind.WBC, Kind.PLATELET))
        index = central_box([cell.box for cell in field.cells], field.width_px, field.height_px)
        place = await locator.place(image.path, data)
        assert place.fallback is (index is None)
        if index is None:
            continue
        in_the_middle += 1
        named = await name_cell(client, data, place, model, None)
        said = field.cells[index].classification
        assert place.box == field.cells[index].box
        assert named.provenance == field.provenance
        assert named.classification.leaf_probabilities == pytest.approx(said.leaf_probabilities, abs=1e-5)
        assert (named.classification.identified, named.classification.type) == (said.identified, said.type)
    assert in_the_middle >= 3, "next to no cell was found again"
