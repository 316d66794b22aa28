"""Which networks are measured for crops per second, and on what terms."""

import pytest

from benchmarks.crops_per_second import classifiers, file_sizes
from services.triton.client import ModelDescription, TensorDescription

CONFIG = """
name: "{name}"
backend: "onnxruntime"
max_batch_size: 16
instance_group [ {{ kind: KIND_CPU count: {instances} }} ]
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
    return tmp_path


@pytest.fixture
def models():
    both = described("both", members="cnn,vit")
    return {model.name: model for model in (described("vit"), described("yolo", task="detection"), both)} | {
        "cnn": described("cnn")
    }


def test_classifiers_are_those_that_say_so_whatever_their_names(repository, models):
    assert {classifier.name for classifier in classifiers(repository, models)} == {"vit", "cnn", "both"}


def test_a_network_is_measured_as_its_embedded_configuration_says(repository, models):
    (cnn,) = (each for each in classifiers(repository, models) if each.name == "cnn")
    assert cnn.instances == 3
    assert [options.threads for options in cnn.options] == [2]
    assert cnn.files == (repository / "cnn" / "3" / "model.onnx",)
    assert (cnn.batch.shape, cnn.batch.dtype) == ((16, 96, 96, 3), "uint8")
    assert cnn.outputs == ("probabilities", "ood_score")
    assert cnn.sources == {"cnn": "cnn" * 8}


def test_an_ensemble_is_its_members(repository, models):
    (both,) = (each for each in classifiers(repository, models) if each.name == "both")
    assert [file.parent.parent.name for file in both.files] == ["cnn", "vit"]
    assert both.sources == {"cnn": "cnn" * 8, "vit": "vit" * 8, "both": "both" * 8}


def test_sizes_are_of_the_models_that_have_a_file(repository, models):
    assert file_sizes(repository, models) == {"vit": 2.0, "cnn": 0.5}
