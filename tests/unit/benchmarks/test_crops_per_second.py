"""Which networks are measured for crops per second, and on what terms."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.crops_per_second import (
    BATCHES_A_ROUND,
    batch_size,
    classifiers,
    file_sizes,
    named_classifiers,
)
from services.triton.descriptions import ModelDescription, TensorDescription

CONFIG = """
name: "{name}"
backend: "onnxruntime"
max_batch_size: 16
instance_group [ {{ kind: KIND_CPU count: {instances} }} ]
parameters {{ key: "task" value: {{ string_value: "classification" }} }}
parameters {{ key: "intra_op_thread_count" value: {{ string_value: "{threads}" }} }}
"""


def described(name: str, **parameters: str) -> ModelDescription:
    crops = TensorDescription("crops", "UINT8", (96, 96, 3))
    answers = (
        TensorDescription("probabilities", "FP32", (11,)),
        TensorDescription("ood_score", "FP32", (1,)),
    )
    parameters = {"task": "classification", "sha256": name * 8} | parameters
    return ModelDescription(name, "3", ("3",), "", "onnxruntime", 16, (crops,), answers, parameters)


@pytest.fixture
def repository(tmp_path):
    for name, instances, threads, size in (("vit", 2, 1, 2_000_000), ("cnn", 3, 2, 500_000)):
        (tmp_path / name / "3").mkdir(parents=True)
        (tmp_path / name / "configs").mkdir()
        (tmp_path / name / "3" / "model.onnx").write_bytes(b"\0" * size)
        config = CONFIG.format(name=name, instances=instances, threads=threads)
        (tmp_path / name / "configs" / "embedded.pbtxt").write_text(config)
        (tmp_path / name / "config.pbtxt").write_text("instance_group [ { count: 9 } ]")
    for name, task in (("both", "classification"), ("yolo", "detection")):
        (tmp_path / name).mkdir()
        config = f'parameters {{ key: "task" value: {{ string_value: "{task}" }} }}'
        (tmp_path / name / "config.pbtxt").write_text(config)
    return tmp_path


@pytest.fixture
def models():
    both = described("both", members="cnn,vit")
    return {model.name: model for model in (described("vit"), described("yolo", task="detection"), both)} | {
        "cnn": described("cnn")
    }


def test_classifiers_are_those_that_say_so_whatever_their_names(repository):
    assert named_classifiers(repository) == ["both", "cnn", "vit"]
    assert named_classifiers(repository, ["vit"]) == ["vit"]
    with pytest.raises(SystemExit, match=r"no classifier yolo in .*; there are both, cnn, vit"):
        named_classifiers(repository, ["vit", "yolo"])


def test_a_network_is_measured_as_its_embedded_configuration_says(repository, models):
    (cnn,) = classifiers(repository, ["cnn"], models)
    assert cnn.instances == 3
    assert [options.threads for options in cnn.options] == [2]
    assert cnn.files == (repository / "cnn" / "3" / "model.onnx",)
    assert (cnn.batch.shape, cnn.batch.dtype) == ((16, 96, 96, 3), "uint8")
    assert cnn.outputs == ("probabilities", "ood_score")
    assert cnn.sources == {"cnn": "cnn" * 8}


def test_an_ensemble_is_its_members(repository, models):
    (both,) = classifiers(repository, ["both"], models)
    assert [file.parent.parent.name for file in both.files] == ["cnn", "vit"]
    assert both.sources == {"cnn": "cnn" * 8, "vit": "vit" * 8, "both": "both" * 8}


def test_crops_are_of_the_size_that_each_network_takes(repository, models):
    crops = TensorDescription("crops", "UINT8", (64, 64, 3))
    models["vit"] = dataclasses.replace(models["vit"], inputs=(crops,))
    vit, cnn = classifiers(repository, ["vit", "cnn"], models)
    assert (vit.batch.shape[1:], cnn.batch.shape[1:]) == ((64, 64, 3), (96, 96, 3))


def test_sizes_are_of_the_newest_file_of_each_model_that_has_one(repository):
    (repository / "vit" / "12").mkdir()
    (repository / "vit" / "12" / "model.onnx").write_bytes(b"\0" * 3_000_000)
    assert file_sizes(repository) == {"vit": 3.0, "cnn": 0.5}


@given(st.floats(0.1, 10_000), st.floats(0.1, 10), st.integers(1, 256))
def test_a_batch_is_no_larger_than_the_model_takes_and_fits_several_times_in_a_round(rate, seconds, most):
    size = batch_size(rate, seconds, most)
    assert 1 <= size <= most
    assert size == 1 or size * BATCHES_A_ROUND <= rate * seconds
    assert 2 * size > min(most, rate * seconds / BATCHES_A_ROUND)
