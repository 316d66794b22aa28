"""Evaluating the detector through a gateway."""

import pytest

from hemaserve.cells import Kind
from hemaserve.client import Client
from hemaserve.evaluation.datasets import read_yolo
from hemaserve.evaluation.detections import evaluate_detections


def found(box: tuple, kind: str = "wbc", score: float = 0.9) -> dict:
    return {"box": box, "kind": kind, "score": score}


async def test_figures_are_those_of_the_answers(gateway, tmp_path, write, image):
    # White cells: one found, one found below the model's own threshold of 0.5. Red cells: one found of one, and a
    # false alarm. Platelets: not labelled.
    write(
        "images/1.png",
        image(
            width=200,
            height=100,
            cells=[
                found((0, 0, 20, 20)),
                found((100, 50, 120, 70), score=0.2),
                found((150, 0, 170, 20), "rbc"),
                found((50, 50, 70, 70), "rbc", 0.5),
            ],
        ),
    )
    write("labels/1.txt", "0 0.05 0.1 0.1 0.2\n0 0.55 0.6 0.1 0.2\n1 0.8 0.1 0.1 0.2\n")
    async with Client(gateway.address) as client:
        evaluation = await evaluate_detections(client, read_yolo(tmp_path))
    report = evaluation.report
    assert report.n == 1
    assert report.ap50 == pytest.approx({Kind.WBC: 1.0, Kind.RBC: 1.0})
    assert (report.map50, report.map50_95) == pytest.approx((1.0, 1.0))
    assert report.recall == {Kind.WBC: 0.5, Kind.RBC: 1.0}
    assert report.precision == {Kind.WBC: 1.0, Kind.RBC: 0.5}
    assert report.boxes == {Kind.WBC: 2, Kind.RBC: 1}
    assert report.score_thresholds == pytest.approx({Kind.WBC: 0.5, Kind.RBC: 0.4, Kind.PLATELET: 0.3})


async def test_precision_is_nothing_where_nothing_is_found(gateway, tmp_path, write, image):
    write("images/1.png", image())
    write("labels/1.txt", "2 0.5 0.5 0.1 0.1")
    async with Client(gateway.address) as client:
        evaluation = await evaluate_detections(client, read_yolo(tmp_path))
    assert evaluation.report.precision == {Kind.PLATELET: None}
    assert evaluation.report.recall == {Kind.PLATELET: 0.0}
    assert evaluation.report.precision_ci95 == {Kind.PLATELET: (0.0, 1.0)}


async def test_the_json_has_the_promised_keys_and_lists_failures(gateway, tmp_path, write, image):
    for name in ("0", "1"):
        write(f"labels/{name}.txt", "0 0.5 0.5 0.2 0.2")
    write("images/0.png", image(reason="IMAGE_DAMAGED"))
    write("images/1.png", image(cells=[found((40, 40, 60, 60))]))
    async with Client(gateway.address) as client:
        evaluation = await evaluate_detections(client, read_yolo(tmp_path))
    document = evaluation.as_json(tmp_path)
    assert {"n", "map50", "map50_95", "ap50", "recall", "precision", "seconds"} <= document.keys()
    assert document["ap50"] == pytest.approx({"wbc": 1.0})
    assert [failed["image"] for failed in document["failed"]] == ["images/0.png"]


async def test_a_busy_gateway_is_waited_for(gateway, tmp_path, write, image):
    gateway.refusals = 2
    write("labels/1.txt", "0 0.5 0.5 0.2 0.2")
    write("images/1.png", image(cells=[found((40, 40, 60, 60))]))
    async with Client(gateway.address) as client:
        evaluation = await evaluate_detections(client, read_yolo(tmp_path))
    assert evaluation.report.map50 == pytest.approx(1.0)
