"""The colours of the training laboratory, as `hemaserve adapt` will read them."""

import json
from pathlib import Path

import pytest

from hemaserve import synthetic
from hemaserve.adaptation import Observed, ObservedField
from hemaserve.cells import CellType, Kind
from hemaserve.client import UnavailableError
from hemaserve.client.errors import unreachable
from hemaserve.site_colours import REFERENCE_FORMAT, anchors_of, field_colours
from training import reference
from training.datasets import LabelledTile


def colours(seed):
    field = synthetic.generate_field(seed, white_cells=4)
    boxes = {kind: [cell.box for cell in field.cells if cell.kind is kind] for kind in Kind}
    return field_colours(field.image, boxes[Kind.WBC], boxes[Kind.RBC])


@pytest.fixture
def asked(monkeypatch, tmp_path):
    """What the services are asked to look at; they answer with generated fields."""
    asked = []

    async def observe_fields(client, paths, **options):
        asked.extend(paths)
        return Observed([ObservedField(colours(seed), None) for seed in range(6)], [], False, None)

    types = [CellType.LYMPHOCYTE, CellType.PLATELET, CellType.MONOCYTE, CellType.ERYTHROBLAST]
    tiles = [LabelledTile(Path(f"{index}.webp"), types[index % 4]) for index in range(2000)]
    monkeypatch.setattr(reference, "observe_fields", observe_fields)
    monkeypatch.setattr(reference, "pbc_tiles", lambda split: tiles if split == "train" else [])
    monkeypatch.setattr(reference, "PATH", tmp_path / "reference.json")
    return asked


def test_the_reference_is_the_median_of_what_the_training_tiles_show(asked):
    document = json.loads(reference.write().read_text())
    anchors = anchors_of([colours(seed) for seed in range(6)])
    assert document["format"] == REFERENCE_FORMAT
    assert (document["fields"], document["white_cells"]) == (6, 24)
    for name in ("background", "red_cell", "nucleus"):
        assert document[name] == pytest.approx(getattr(anchors, name), abs=1e-4)


def test_tiles_of_all_white_cells_are_looked_at_and_none_of_platelets(asked):
    reference.write()
    numbers = [int(path.stem) for path in asked]
    assert len(numbers) == reference.TILES
    assert {number % 4 for number in numbers} == {0, 2, 3}
    assert max(numbers) > 1990


def test_without_a_stack_nothing_is_written(asked, monkeypatch):
    async def observe_fields(client, paths, **options):
        return Observed([], [], True, unreachable("here"))

    monkeypatch.setattr(reference, "observe_fields", observe_fields)
    with pytest.raises(UnavailableError):
        reference.write()
    assert not reference.PATH.exists()
