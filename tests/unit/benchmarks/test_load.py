"""Load tells apart what is lost, duplicated, mixed up and forbidden: seen on a gateway that does all that."""

from dataclasses import replace

import pytest

from benchmarks import load
from benchmarks.answers import Expected, Sample
from benchmarks.load import Load
from hemaserve.cells import CellType
from hemaserve.client.errors import InternalError, UnavailableError
from hemaserve.results import Failure, NamedCell

from .conftest import PROVENANCE

CALLS = 3
"""After so many calls of each kind the load is over."""


class FakeClient:
    """Answers as the undisturbed stack did, but for what `harm` does."""

    def __init__(self, world):
        self.world = world

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    async def analyze_field(self, image, *, field_id):
        self.world.called()
        return self.world.harm("field", self.world.field(image, field_id))

    async def analyze_smear(self, fields, *, smear_id, specimen, on_result):
        self.world.called()
        sent = [each async for each in fields]
        found = self.world.harm("smear", [self.world.field(each.image, each.field_id) for each in sent])
        for each in found:
            on_result(each)
        return self.world.smear_result(tuple(found))

    async def classify_cells(self, cells):
        self.world.called()
        said = [
            NamedCell(cell.cell_id, self.world.expected.cells[cell.image.decode()][0], None, PROVENANCE)
            for cell in cells
        ]
        return self.world.harm("cells", said)


class World:
    def __init__(self, monkeypatch, field_result, smear_result, named):
        types = (CellType.LYMPHOCYTE, CellType.MONOCYTE)
        self.smear_result = smear_result
        fields = {each.value: field_result(each.value, each) for each in types}
        self.expected = Expected(fields, {each.value: (named(each),) for each in types})
        samples = [
            Sample(name, name.encode(), result.image_sha256, (name.encode(),))
            for name, result in fields.items()
        ]
        self.harm = lambda kind, answer: answer
        self._left = CALLS * 4
        monkeypatch.setattr(load, "Client", lambda address, **_: FakeClient(self))
        self.load = Load("", samples, self.expected, seed=1, fields_per_second=1e6)

    def field(self, image, field_id):
        return replace(self.expected.fields[image.decode()], field_id=field_id)

    def called(self):
        self._left -= 1
        if self._left <= 0:
            self.load.stop()

    async def tally(self, harm=None):
        self.harm = harm or self.harm
        return await self.load.run()


@pytest.fixture
def world(monkeypatch, field_result, smear_result, named):
    return World(monkeypatch, field_result, smear_result, named)


async def test_a_sound_gateway_gives_a_sound_tally(world):
    tally = await world.tally()
    assert tally.sound
    assert tally.problems == []
    assert tally.smears
    assert tally.fields
    assert tally.cells


async def test_an_answer_for_another_field_is_mixed_up(world):
    other = world.expected.fields["lymphocyte"], world.expected.fields["monocyte"]

    def swap(kind, answer):
        if kind != "field":
            return answer
        swapped = other[answer.image_sha256 == other[0].image_sha256]
        return replace(swapped, field_id=answer.field_id)

    tally = await world.tally(swap)
    assert tally.mixed_up
    assert not tally.lost


async def test_cells_in_another_order_are_mixed_up(world):
    tally = await world.tally(lambda kind, answer: answer[::-1] if kind == "cells" else answer)
    assert tally.mixed_up


async def test_a_field_that_is_not_told_of_is_lost(world):
    tally = await world.tally(lambda kind, answer: answer[1:] if kind == "smear" else answer)
    assert tally.lost == tally.smears


async def test_a_field_that_is_told_of_twice_is_duplicated(world):
    tally = await world.tally(lambda kind, answer: [*answer, answer[0]] if kind == "smear" else answer)
    assert tally.duplicated == tally.smears


@pytest.mark.parametrize(
    ("error", "lost_by", "forbidden"),
    [
        (UnavailableError(Failure("UNAVAILABLE", "", "away")), "smear", False),
        (UnavailableError(Failure("UNAVAILABLE", "", "away")), "cells", False),
        (UnavailableError(Failure("UNAVAILABLE", "", "away")), "", False),
        (InternalError(Failure("INTERNAL", "INTERNAL", "a defect")), "", True),
    ],
)
async def test_a_stream_that_is_given_up_is_lost_and_a_single_call_is_not(world, error, lost_by, forbidden):
    def fail(kind, answer):
        if kind == (lost_by or "field"):
            raise error
        return answer

    tally = await world.tally(fail)
    assert bool(tally.lost) == bool(lost_by)
    assert bool(tally.forbidden) == forbidden
    assert tally.sound == (not lost_by and not forbidden)
