"""Evaluating whole fields through a gateway."""

import math

import pytest

from hemaserve.cells import CellType, Kind
from hemaserve.client import Client
from hemaserve.evaluation.datasets import LabelledBox, LabelledField
from hemaserve.evaluation.fields import evaluate_fields
from hemaserve.geometry import Box

NEUTROPHIL = {"neutrophil_segmented": 0.6, "monocyte": 0.4}
MONOCYTE = {"monocyte": 0.9, "neutrophil_segmented": 0.1}


def cell(box: tuple, probabilities: dict, **more) -> dict:
    return {"box": box, "probabilities": probabilities, **more}


@pytest.fixture
def field(write, image):
    def make(name: str, boxes: list[tuple], types: list[CellType], cells: list[dict]) -> LabelledField:
        labelled = tuple(LabelledBox(Box(*box), Kind.WBC) for box in boxes)
        return LabelledField(write(name, image(cells=cells)), labelled, tuple(types))

    return make


LEFT, RIGHT = (0, 0, 20, 20), (60, 0, 80, 20)


async def test_figures_are_those_of_the_answers(gateway, field, tmp_path):
    fields = [
        field("1.png", [LEFT], [CellType.NEUTROPHIL], [cell(LEFT, NEUTROPHIL, identified=False)]),
        # one cell missed, one false alarm
        field("2.png", [LEFT], [CellType.MONOCYTE], [cell(RIGHT, MONOCYTE)]),
        # which of the two is the monocyte is not said: one of two answers fits
        field(
            "3.png",
            [LEFT, RIGHT],
            [CellType.MONOCYTE, CellType.LYMPHOCYTE],
            [cell(LEFT, MONOCYTE), cell(RIGHT, NEUTROPHIL)],
        ),
        # types are not known: counts for finding only
        field("4.png", [RIGHT], [], [cell(RIGHT, MONOCYTE)]),
    ]
    async with Client(gateway.address) as client:
        evaluation = await evaluate_fields(client, fields, model="xception")
    report = evaluation.report
    assert (report.n, report.wbc_labelled, report.wbc_found) == (4, 5, 5)
    assert report.wbc_recall == report.wbc_precision == 0.8
    assert (report.typed, report.unidentified) == (3, 1)
    assert report.type_accuracy == pytest.approx(2 / 3)
    assert gateway.models == {"xception"}
    promised = {"n", "wbc_recall", "wbc_precision", "type_accuracy", "seconds"}
    assert promised <= evaluation.as_json(tmp_path).keys()


async def test_calibration_and_abstention_are_of_fields_that_name_one_type(gateway, field):
    fields = [
        field("1.png", [LEFT], [CellType.MONOCYTE], [cell(LEFT, MONOCYTE)]),
        field("2.png", [LEFT], [CellType.MONOCYTE], [cell(LEFT, NEUTROPHIL, identified=False)]),
        # Which of the two is the monocyte is not said.
        field(
            "3.png",
            [LEFT, RIGHT],
            [CellType.MONOCYTE, CellType.LYMPHOCYTE],
            [cell(LEFT, MONOCYTE), cell(RIGHT, MONOCYTE)],
        ),
    ]
    async with Client(gateway.address) as client:
        report = (await evaluate_fields(client, fields)).report
    assert (report.typed, report.calibration.n) == (4, 2)
    assert report.calibration.nll == pytest.approx(-(math.log(0.9) + math.log(0.4)) / 2, rel=1e-6)
    assert [point.accuracy for point in report.abstention] == [0.5] * 6
    assert [point.n for point in report.abstention_by_probability] == [2] * 6


async def test_why_cells_are_unidentified_is_counted_among_those_of_known_type(gateway, field):
    unlike = {"identified": False, "reasons": ["out_of_distribution", "low_probability"]}
    fields = [
        field("1.png", [LEFT], [CellType.MONOCYTE], [cell(LEFT, MONOCYTE, **unlike)]),
        field("2.png", [LEFT], [], [cell(LEFT, MONOCYTE, **unlike)]),
    ]
    async with Client(gateway.address) as client:
        report = (await evaluate_fields(client, fields)).report
    assert report.unidentified == 1
    assert report.unidentified_reasons == {"out_of_distribution": 1, "low_probability": 1}


async def test_a_second_detection_of_the_same_cell_is_a_false_alarm(gateway, field):
    twice = [cell(LEFT, NEUTROPHIL, score=0.9), cell((0, 0, 20, 19), MONOCYTE, score=0.8)]
    async with Client(gateway.address) as client:
        evaluation = await evaluate_fields(client, [field("1.png", [LEFT], [CellType.NEUTROPHIL], twice)])
    assert evaluation.report.wbc_precision == 0.5
    assert evaluation.report.type_accuracy == 1.0


async def test_fields_without_white_cells_are_shares_of_nothing(gateway, field):
    async with Client(gateway.address) as client:
        evaluation = await evaluate_fields(client, [field("1.png", [], [], [])])
    report = evaluation.report
    assert report.wbc_recall is report.wbc_precision is report.type_accuracy is None
    assert report.calibration is None
    assert report.abstention == report.abstention_by_probability == ()
