"""The name of a model tells what it is for, and a wrong name which there are."""

import pytest

from hemaserve.results import ModelTask
from hemaserve.unshipped import UNSHIPPED
from services.triton.naming import no_such_model, task_by_name


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("xception", ModelTask.CLASSIFICATION),
        ("xception-2", ModelTask.CLASSIFICATION),
        ("comparative_ensemble", ModelTask.CLASSIFICATION),
        ("yolov5n", ModelTask.DETECTION),
        ("leukemia_field", ModelTask.SCREEN_FIELD),
        ("leukemia_cell-2", ModelTask.SCREEN_CELL),
        ("comparative_vote", None),
    ],
)
def test_a_name_tells_the_task(name, task):
    assert task_by_name(name) is task


def test_the_name_of_a_detector_that_is_not_shipped_tells_its_task():
    assert task_by_name(UNSHIPPED["yolov5x6"].name) is ModelTask.DETECTION


def test_a_wrong_name_is_told_what_is_loaded_and_what_would_be_for_the_same_task():
    loadable = ["yolov5n", "unet", "vote", "leukemia_cell", "resnet50", "vit"]
    error = no_such_model("vitt", ModelTask.CLASSIFICATION, loaded=["xception", "vit"], loadable=loadable)
    assert error.message == (
        "no classification model 'vitt'; available: vit, xception; loaded when asked for: resnet50, unet"
    )
    assert error.reason == "MODEL_NOT_FOUND"


def test_a_model_that_could_not_be_loaded_is_not_told_to_be_loaded_when_asked_for():
    error = no_such_model("yolov5n", ModelTask.DETECTION, loaded=[], loadable=["yolov5n"])
    assert error.message == "no detection model 'yolov5n'; available: none"
