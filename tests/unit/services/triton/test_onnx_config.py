"""What a configuration says of an ONNX file."""

from __future__ import annotations

import pytest

from services.triton.backends.onnxruntime import onnx_config
from services.triton.backends.onnxruntime.onnx_config import ConfigError, check
from services.triton.backends.onnxruntime.onnx_network import Options, Port

CROPS = Port("crops", "TYPE_UINT8", (-1, 96, 96, 3))
PROBABILITIES = Port("probabilities", "TYPE_FP32", (-1, 11))


def entry(port: Port, **changes) -> dict:
    return {"name": port.name, "data_type": port.data_type, "dims": list(port.dims[1:])} | changes


def config(**changes) -> dict:
    return {
        "name": "vit",
        "max_batch_size": 8,
        "input": [entry(CROPS)],
        "output": [entry(PROBABILITIES)],
    } | changes


def test_a_configuration_that_agrees_passes() -> None:
    check(config(), [CROPS], [PROBABILITIES])
    check(config(output=[entry(PROBABILITIES, dims=[-1])]), [CROPS], [PROBABILITIES])
    check(config(output=[]), [CROPS], [PROBABILITIES])


def test_without_batching_the_configuration_has_all_dims() -> None:
    unbatched = config(
        max_batch_size=0,
        input=[entry(CROPS, dims=[-1, 96, 96, 3])],
        output=[entry(PROBABILITIES, dims=["-1", "11"])],  # Triton writes dims as strings
    )
    check(unbatched, [CROPS], [PROBABILITIES])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"input": [entry(CROPS, name="images")]},
            "input 'images' is not in the ONNX file, which has \\['crops'\\]",
        ),
        ({"input": [entry(CROPS, data_type="TYPE_FP32")]}, "is TYPE_FP32, the ONNX file has TYPE_UINT8"),
        (
            {"input": [entry(CROPS, dims=[96, 96])]},
            "has dims \\[-1, 96, 96\\], the ONNX file has \\[-1, 96, 96, 3\\]",
        ),
        ({"input": [entry(CROPS, dims=[-1, -1, 3])]}, "has dims"),
        ({"input": []}, "input 'crops' of the ONNX file is not configured"),
        ({"input": [entry(CROPS, reshape={"shape": [9]})]}, "reshape"),
        ({"output": [entry(PROBABILITIES, dims=[12])]}, "output 'probabilities' has dims"),
    ],
)
def test_a_disagreement_is_named(changes, message) -> None:
    with pytest.raises(ConfigError, match=message):
        check(config(**changes), [CROPS], [PROBABILITIES])


def test_a_network_of_fixed_batch_does_not_batch() -> None:
    with pytest.raises(ConfigError, match="the first is the batch"):
        check(config(), [Port("crops", "TYPE_UINT8", (1, 96, 96, 3))], [PROBABILITIES])


def test_completion_batches_where_every_first_dim_is_free() -> None:
    fixed = Port("anchors", "TYPE_FP32", (4,))
    assert onnx_config.completed_batch_size({}, [CROPS], [PROBABILITIES]) == 4
    assert onnx_config.completed_batch_size({"max_batch_size": 32}, [CROPS], [PROBABILITIES]) == 32
    assert onnx_config.completed_batch_size({}, [CROPS], [PROBABILITIES, fixed]) == 0
    assert onnx_config.entries([CROPS], 4) == [entry(CROPS)]
    assert onnx_config.entries([CROPS], 0) == [entry(CROPS, dims=[-1, 96, 96, 3])]


def test_the_file_is_the_one_the_configuration_names(tmp_path) -> None:
    for version, name in (("1", "model.onnx"), ("2", "other.onnx")):
        (tmp_path / "vit" / version).mkdir(parents=True)
        (tmp_path / "vit" / version / name).touch()
    folder = str(tmp_path / "vit")
    assert onnx_config.onnx_path({"name": "vit"}, folder, "1").name == "model.onnx"
    assert onnx_config.onnx_path({"default_model_filename": "other.onnx"}, folder, "2").name == "other.onnx"
    with pytest.raises(ConfigError, match=r"no ONNX file 'model\.onnx' in version 2 of model 'vit'"):
        onnx_config.onnx_path({"name": "vit"}, folder, "2")


def test_options_come_from_parameters_and_have_limits() -> None:
    parameters = onnx_config.parameters({"parameters": {"intra_op_thread_count": {"string_value": "2"}}})
    assert Options.of(parameters) == Options("openvino", 2, "auto")
    assert Options.of({"runtime": "onnxruntime", "enable_mem_arena": "0"}).memory_arena is False
    for wrong in (
        {"runtime": "torch"},
        {"precision": "int8"},
        {"intra_op_thread_count": "0"},
        {"enable_mem_arena": "off"},
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Options.of(wrong)
