"""Evaluating single cells through a gateway."""

import asyncio
import math
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemaserve.cells import CellType as T
from hemaserve.client import Client
from hemaserve.errors import InvalidArgument
from hemaserve.evaluation.cells import evaluate_cells, evaluate_cells_by, spread
from hemaserve.evaluation.datasets import CellImage, Finer, read_cell_folders

NEUTROPHIL = {"neutrophil_band": 0.3, "neutrophil_segmented": 0.5, "monocyte": 0.2}
MONOCYTE = {"monocyte": 0.9, "neutrophil_band": 0.1}
MIDDLE = (40, 40, 60, 60)


def cell(probabilities: dict, box: tuple = MIDDLE, **more) -> dict:
    return {"box": box, "probabilities": probabilities, **more}


async def test_the_detection_nearest_to_the_centre_is_the_cell(gateway, tmp_path, write, image):
    beside = cell(NEUTROPHIL, (0, 0, 30, 30), score=0.99)
    off_centre = cell(NEUTROPHIL, (20, 20, 60, 60), score=0.98)
    write("monocyte/1.png", image(cells=[beside, off_centre, cell(MONOCYTE)]))
    async with Client(gateway.address) as client:
        evaluation = await evaluate_cells(client, read_cell_folders(tmp_path))
    assert evaluation.report.accuracy == 1
    assert evaluation.report.fallbacks == 0
    assert evaluation.provenance.detector.name == "yolo"


async def test_red_cells_are_not_taken_for_the_cell_and_platelets_are(gateway, tmp_path, write, image):
    write("platelet/1.png", image(cells=[cell({"platelet": 1.0}, kind="platelet")]))
    write("monocyte/2.png", image(cells=[cell(NEUTROPHIL, kind="rbc")], middle={"probabilities": MONOCYTE}))
    async with Client(gateway.address) as client:
        evaluation = await evaluate_cells(client, read_cell_folders(tmp_path))
    assert evaluation.report.accuracy == 1
    assert evaluation.report.fallbacks == gateway.fallbacks == 1


async def test_figures_are_those_of_the_answers(gateway, tmp_path, write, image):
    write("monocyte/1.png", image(cells=[cell(MONOCYTE)]))
    write("monocyte/2.png", image(cells=[cell(NEUTROPHIL, identified=False)]))
    write("NEUTROPHIL/3.png", image(cells=[cell(NEUTROPHIL)]))
    write("NEUTROPHIL/4.png", image(middle={"probabilities": NEUTROPHIL, "identified": False}))
    async with Client(gateway.address) as client:
        evaluation = await evaluate_cells(client, read_cell_folders(tmp_path), model="vit")
    report = evaluation.report
    assert (report.n, report.accuracy, report.unidentified, report.fallbacks) == (4, 0.75, 2, 1)
    assert report.accuracy_identified == 1.0
    assert report.accuracy_ci95 == pytest.approx((0.194, 0.994), abs=0.001)
    assert report.confusion == {
        T.NEUTROPHIL: {T.NEUTROPHIL: 2, T.MONOCYTE: 0},
        T.MONOCYTE: {T.NEUTROPHIL: 1, T.MONOCYTE: 1},
    }
    neutrophil = report.per_type[T.NEUTROPHIL]
    assert (neutrophil.recall, neutrophil.support, neutrophil.specificity) == (1.0, 2, 0.5)
    assert neutrophil.precision == pytest.approx(2 / 3)
    assert neutrophil.f1 == pytest.approx(0.8)
    assert report.macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)
    # Three answers at 0.8, two of them right, and one at 0.9, right.
    assert report.ece == pytest.approx((abs(3 * 0.8 - 2) + 0.1) / 4, abs=1e-6)
    assert gateway.models == {"vit"}


async def test_leaves_are_told_apart_where_file_names_say_them(gateway, tmp_path, write, image):
    band = {"neutrophil_band": 0.6, "neutrophil_segmented": 0.3, "monocyte": 0.1}
    hidden_band = {"neutrophil_band": 0.3, "neutrophil_segmented": 0.1, "monocyte": 0.6}
    write("neutrophil/BNE_1.png", image(cells=[cell(band)]))
    write("neutrophil/BNE_2.png", image(cells=[cell(hidden_band)]))
    write("neutrophil/SNE_3.png", image(cells=[cell(band)]))
    write("neutrophil/NEUTROPHIL_4.png", image(cells=[cell(band)]))
    write("monocyte/MO_5.png", image(cells=[cell(MONOCYTE)]))
    async with Client(gateway.address) as client:
        images = read_cell_folders(tmp_path, finer=Finer.PREFIX)
        evaluation = await evaluate_cells(client, images, finer=Finer.PREFIX)
        by_folder = await evaluate_cells(client, read_cell_folders(tmp_path))
        closed = await evaluate_cells(client, images, types=[T.NEUTROPHIL, T.MONOCYTE])
    leaves = evaluation.report.leaves
    assert (leaves.n, leaves.accuracy) == (4, 0.5)
    assert leaves.confusion[T.NEUTROPHIL_BAND][T.MONOCYTE] == 1
    # Band 2 of 4 in what is 1/2 precision and 1/2 recall, segmented none, monocyte 1/2 and 1.
    assert leaves.macro_f1 == pytest.approx((0.5 + 0 + 2 / 3) / 3)
    assert (leaves.band_segmented, leaves.band_segmented_accuracy) == (3, pytest.approx(2 / 3))
    assert evaluation.report.accuracy == by_folder.report.accuracy == 0.8
    assert by_folder.report.leaves is None
    assert closed.report.leaves is None
    assert evaluation.settings["finer"] == "prefix"


async def test_why_cells_are_unidentified_is_counted(gateway, tmp_path, write, image):
    both = ["low_probability", "members_disagree"]
    write("monocyte/1.png", image(cells=[cell(MONOCYTE, identified=False, reasons=both)]))
    write("monocyte/2.png", image(cells=[cell(MONOCYTE, identified=False, reasons=both[:1])]))
    write("monocyte/3.png", image(cells=[cell(MONOCYTE)]))
    async with Client(gateway.address) as client:
        evaluation = await evaluate_cells(client, read_cell_folders(tmp_path))
    assert evaluation.as_json(tmp_path)["unidentified_reasons"] == {
        "low_probability": 2,
        "members_disagree": 1,
    }


async def test_calibration_and_abstention_are_of_the_answers(gateway, tmp_path, write, image):
    for number in range(9):
        write(f"monocyte/{number}.png", image(cells=[cell(MONOCYTE)]))
    write("monocyte/wrong.png", image(cells=[cell(NEUTROPHIL, identified=False)]))
    async with Client(gateway.address) as client:
        report = (await evaluate_cells(client, read_cell_folders(tmp_path))).report
    assert report.calibration.n == 10
    assert report.calibration.ece == report.ece
    assert report.calibration.nll == pytest.approx(-(9 * math.log(0.9) + math.log(0.2)) / 10, rel=1e-6)
    by_share = {point.share: point.accuracy for point in report.abstention}
    assert (by_share[0.05], by_share[0.1]) == (0.9, 1.0)


async def test_the_json_has_the_promised_keys(gateway, tmp_path, write, image):
    write("monocyte/1.png", image(cells=[cell(MONOCYTE)]))
    write("monocyte/broken.png", image(reason="IMAGE_DAMAGED"))
    async with Client(gateway.address) as client:
        evaluation = await evaluate_cells(client, read_cell_folders(tmp_path))
    document = evaluation.as_json(tmp_path)
    promised = "n accuracy accuracy_ci95 macro_f1 per_type confusion ece unidentified accuracy_identified"
    assert {*promised.split(), "fallbacks", "seconds", "leaves"} <= document.keys()
    assert {"nll", "nll_ratio", "brier", "brier_ratio", "ece"} <= document["calibration"].keys()
    assert [point["share"] for point in document["abstention"]] == [0.01, 0.02, 0.05, 0.1, 0.15, 0.2]
    assert {"share", "accuracy", "accuracy_ci95"} <= document["abstention"][0].keys()
    assert {"precision", "recall", "f1", "support", "specificity"} <= document["per_type"]["monocyte"].keys()
    assert document["confusion"] == {"monocyte": {"monocyte": 1}}
    assert document["failed"] == [{"image": "monocyte/broken.png", "reason": "refused: image_damaged"}]
    assert document["partial"] is False


async def test_a_closed_set_leaves_out_other_folders(gateway, tmp_path, write, image):
    write("monocyte/1.png", image(cells=[cell({"lymphocyte": 0.6, "monocyte": 0.3, "basophil": 0.1})]))
    write("lymphocyte/2.png", image(cells=[cell(MONOCYTE)]))
    write("basophil/3.png", image(cells=[cell({"monocyte": 0.5, "basophil": 0.4, "lymphocyte": 0.1})]))
    async with Client(gateway.address) as client:
        evaluation = await evaluate_cells(client, read_cell_folders(tmp_path), types=[T.MONOCYTE, T.BASOPHIL])
        assert (evaluation.report.n, evaluation.report.accuracy) == (2, 0.5)
        with pytest.raises(InvalidArgument, match="--types"):
            await evaluate_cells(client, read_cell_folders(tmp_path), types=[T.BLAST, T.SMUDGE])


async def test_images_that_cannot_be_read_are_listed_and_harm_no_other(gateway, tmp_path, write, image):
    write("monocyte/good.png", image(cells=[cell(MONOCYTE)]))
    write("monocyte/refused.png", image(reason="IMAGE_UNREADABLE"))
    write("monocyte/unclassifiable.png", image(middle=None))
    (tmp_path / "monocyte/gone.png").symlink_to(tmp_path / "nowhere")
    async with Client(gateway.address) as client:
        evaluation = await evaluate_cells(client, read_cell_folders(tmp_path))
    assert {failed.path.name for failed in evaluation.failed} == {
        "gone.png",
        "refused.png",
        "unclassifiable.png",
    }
    assert evaluation.report.n == 1
    assert not evaluation.partial


async def test_many_requests_are_in_flight(gateway, tmp_path, write, image):
    gateway.answers_before_hold, gateway.held_wanted = 0, 16
    for number in range(20):
        write(f"monocyte/{number}.png", image(cells=[cell(MONOCYTE)]))

    async with Client(gateway.address) as client:
        task = asyncio.create_task(evaluate_cells(client, read_cell_folders(tmp_path)))
        assert await asyncio.to_thread(gateway.all_held.wait, 30)
        gateway.hold.set()
        evaluation = await task
    assert evaluation.report.n == 20
    assert gateway.most_at_once == 16


async def test_an_error_of_the_services_keeps_the_figures_so_far(gateway, tmp_path, write, image):
    write("monocyte/1.png", image(cells=[cell(MONOCYTE)]))
    write("monocyte/2.png", image(reason="BROKEN"))
    async with Client(gateway.address) as client:
        evaluation = await evaluate_cells(client, read_cell_folders(tmp_path), in_flight=1)
    assert evaluation.report.n == 1
    assert evaluation.partial
    assert str(evaluation.error) == "refused: broken"


async def test_without_any_answer_there_are_no_figures(gateway, tmp_path, write, image):
    write("monocyte/1.png", image(reason="BROKEN"))
    async with Client(gateway.address) as client:
        evaluation = await evaluate_cells(client, read_cell_folders(tmp_path))
    assert evaluation.report is None
    assert evaluation.as_json(tmp_path)["n"] == 0
    assert evaluation.as_json(tmp_path)["error"] == "refused: broken"


@given(st.lists(st.sampled_from([T.MONOCYTE, T.BASOPHIL, T.PLATELET]), min_size=1, max_size=60))
def test_every_beginning_of_the_images_holds_each_type_in_its_share(types):
    images = [CellImage(Path(str(number)), cell_type, cell_type) for number, cell_type in enumerate(types)]
    order = spread(images)
    assert sorted(image.path for image in order) == sorted(image.path for image in images)
    for length in range(1, len(order) + 1):
        begun = Counter(image.cell_type for image in order[:length])
        for cell_type, n in Counter(types).items():
            assert abs(begun[cell_type] - n * length / len(types)) <= 2


async def test_several_models_name_the_same_cells_which_are_looked_for_once(gateway, tmp_path, write, image):
    said = cell(MONOCYTE) | {"vit": {"probabilities": NEUTROPHIL}}
    write("monocyte/1.png", image(cells=[said]))
    write("monocyte/2.png", image(middle={"probabilities": MONOCYTE}))
    steps = []
    async with Client(gateway.address) as client:
        evaluations = await evaluate_cells_by(
            client,
            read_cell_folders(tmp_path),
            models=["xception", "vit"],
            on_progress=lambda done, total: steps.append((done, total)),
        )
    assert [each.report.accuracy for each in evaluations] == [1.0, 0.5]
    assert [each.report.fallbacks for each in evaluations] == [1, 1]
    assert [each.settings["model"] for each in evaluations] == ["xception", "vit"]
    assert [each.provenance.classifier.name for each in evaluations] == ["xception", "vit"]
    assert {each.provenance.detector.name for each in evaluations} == {"yolo"}
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert gateway.asked == 2


async def test_after_a_model_that_ended_early_no_other_is_asked(gateway, tmp_path, write, image):
    write("monocyte/1.png", image(reason="BROKEN"))
    async with Client(gateway.address) as client:
        evaluations = await evaluate_cells_by(client, read_cell_folders(tmp_path), models=["vit", "xception"])
    assert [str(each.error) for each in evaluations] == ["refused: broken"]


async def test_a_whole_image_is_classified_without_asking_the_detector(gateway, tmp_path, write, image):
    write("monocyte/1.png", image(cells=[cell(NEUTROPHIL)], middle={"probabilities": MONOCYTE}))
    async with Client(gateway.address) as client:
        (evaluation,) = await evaluate_cells_by(
            client, read_cell_folders(tmp_path), models=[None], whole=True
        )
    assert evaluation.report.accuracy == 1
    assert evaluation.report.fallbacks == 0
    assert evaluation.settings["whole"] is True
    assert evaluation.provenance.detector is None
    assert (gateway.asked, gateway.whole) == (0, 1)


async def test_types_that_the_model_cannot_answer_are_told_and_wrong(gateway, tmp_path, write, image):
    """It knows neutrophils as a whole, so it cannot be right about a band, but about any neutrophil."""
    write("monocyte/1.png", image(cells=[cell({"monocyte": 0.9, "neutrophil": 0.1})]))
    write("basophil/2.png", image(cells=[cell({"monocyte": 0.9, "neutrophil": 0.1})]))
    write("neutrophil/3.png", image(cells=[cell({"monocyte": 0.1, "neutrophil": 0.9})]))
    write("band/4.png", image(cells=[cell({"monocyte": 0.1, "neutrophil": 0.9})]))
    async with Client(gateway.address) as client:
        images = read_cell_folders(tmp_path)
        report = (await evaluate_cells(client, images)).report
        closed = (await evaluate_cells(client, images, types=[T.MONOCYTE, T.NEUTROPHIL])).report
    assert report.unanswerable == {T.BASOPHIL: 1, T.NEUTROPHIL_BAND: 1}
    assert report.accuracy == 0.5
    assert closed.unanswerable == {}
    assert (closed.n, closed.accuracy) == (3, 1.0)
