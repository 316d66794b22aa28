"""Triton's configurations say what detection models there are."""

import pytest

from hemaserve.cells import Kind
from hemaserve.errors import FailedPrecondition, NotFound
from services.detector.models import DetectionModel, ModelCatalog


def test_a_configuration_describes_a_model(describe):
    model = DetectionModel.from_description(describe())
    assert model.kinds == (Kind.WBC, Kind.RBC, Kind.PLATELET)
    assert dict(model.score_thresholds) == {Kind.WBC: 0.3, Kind.RBC: 0.4, Kind.PLATELET: 0.5}
    assert (model.input_px, model.max_batch_size, model.nms_iou) == (416, 4, 0.6)
    assert (model.version, model.sha256, model.licence) == ("1", "ab" * 32, "AGPL-3.0-only")


def test_a_model_that_does_not_batch_gets_one_square_at_a_time(describe):
    assert DetectionModel.from_description(describe(max_batch_size=0)).max_batch_size == 1


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"nms_iou": None}, "nms_iou"),
        ({"nms_iou": "0"}, "nms_iou"),
        ({"nms_iou": "nan"}, "nms_iou"),
        ({"score_threshold__rbc": None}, "score_threshold.rbc"),
        ({"score_threshold__rbc": "1.5"}, "score_threshold.rbc"),
        ({"score_threshold__rbc": "much"}, "much"),
        ({"kinds": None}, "kinds"),
        ({"kinds": "wbc,cat"}, "cat"),
        ({"preprocessing_version": "0"}, "preprocessing_version"),
        ({"preprocessing_version": None}, "preprocessing_version"),
        ({"dims": (3, 416, 416)}, "side"),
        ({"dims": (416, 320, 3)}, "side"),
        ({"dims": (-1, -1, 3)}, "side"),
    ],
)
def test_a_configuration_that_cannot_be_used_says_what_is_wrong(describe, changes, says):
    with pytest.raises(ValueError, match=says):
        DetectionModel.from_description(describe(**changes))


async def test_an_empty_name_is_the_default_model(catalog):
    assert (await catalog.get("")).name == "yolov8n"


async def test_an_unknown_model_is_not_found_and_the_others_are_listed(make_triton, describe):
    triton = make_triton(describe("yolov8n"), describe("yolov5n"), describe("vit", task="classification"))
    catalog = ModelCatalog(triton, default="yolov8n", refresh_s=60)
    triton.asleep = {name: describe(name) for name in ("yolov8s", "vote", "resnet50")}
    with pytest.raises(NotFound) as refused:
        await catalog.get("cat")
    assert refused.value.message == (
        "no detection model 'cat'; available: yolov5n, yolov8n; loaded when asked for: yolov8s"
    )
    assert refused.value.reason == "MODEL_NOT_FOUND"


async def test_a_model_for_another_task_is_not_a_detection_model(make_triton, describe):
    triton = make_triton(describe("yolov8n"), describe("vit", task="classification"))
    catalog = ModelCatalog(triton, default="yolov8n", refresh_s=60)
    with pytest.raises(NotFound, match="'vit'; available: yolov8n"):
        await catalog.get("vit")
    assert [model.name for model in await catalog.all()] == ["yolov8n"]


async def test_a_broken_configuration_is_refused_and_does_not_hide_the_others(make_triton, describe):
    triton = make_triton(describe("yolov8n"), describe("broken", nms_iou="9"))
    catalog = ModelCatalog(triton, default="yolov8n", refresh_s=60)
    with pytest.raises(FailedPrecondition, match="broken"):
        await catalog.get("broken")
    assert [model.name for model in await catalog.all()] == ["yolov8n"]


async def test_triton_is_asked_once_while_its_answer_is_fresh(fake_triton, catalog):
    await catalog.get("")
    await catalog.get("yolov8n")
    assert fake_triton.config_calls == 1


async def test_triton_is_asked_again_when_its_answer_is_old(fake_triton, describe):
    catalog = ModelCatalog(fake_triton, default="yolov8n", refresh_s=1e-9)
    await catalog.get("")
    fake_triton.described["yolov8n"] = describe(nms_iou="0.5")
    assert (await catalog.get("")).nms_iou == 0.5


async def test_a_model_that_is_not_loaded_yet_is_loaded_when_it_is_named(fake_triton, catalog, describe):
    fake_triton.asleep = {"yolov5n": describe("yolov5n")}
    assert (await catalog.get("yolov5n")).name == "yolov5n"
    assert fake_triton.asleep == {}


@pytest.mark.parametrize("name", ["resnet50", "comparative_vote", "leukemia_cell"])
async def test_a_model_whose_name_says_another_task_is_not_loaded_to_find_out(
    fake_triton, catalog, describe, name
):
    fake_triton.asleep = {name: describe(name, task="classification")}
    with pytest.raises(NotFound, match=rf"no detection model '{name}'; available: yolov8n$"):
        await catalog.get(name)
    assert fake_triton.loads == []


async def test_the_default_model_is_loaded_whatever_its_name(make_triton, describe):
    triton = make_triton(describe("yolov8n"))
    triton.asleep = {"finder": describe("finder")}
    catalog = ModelCatalog(triton, default="finder", refresh_s=60)
    assert (await catalog.get("")).name == "finder"
