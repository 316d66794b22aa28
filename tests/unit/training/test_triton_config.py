"""Triton's configurations."""

from dataclasses import replace

import pytest

from training.triton_config import VARIANTS, EnsembleStep, ModelSpec, TensorSpec, render, rows_at_once, write

_SPEC = ModelSpec(
    "net",
    64,
    (TensorSpec("crops", "TYPE_UINT8", (96, 96, 3)),),
    (TensorSpec("probabilities", "TYPE_FP32", (11,)),),
    {"task": "classification", "title": 'A "slim" one'},
)


def test_every_variant_is_written_as_a_complete_alternative(tmp_path):
    write(_SPEC, tmp_path)
    for name, variant in VARIANTS.items():
        text = (tmp_path / "configs" / f"{name}.pbtxt").read_text()
        assert 'name: "net"' in text
        assert variant.instance_kind in text
    assert (tmp_path / "config.pbtxt").read_text() == (tmp_path / "configs" / "cpu.pbtxt").read_text()


def test_quotes_in_a_title_are_escaped():
    assert r'string_value: "A \"slim\" one"' in render(_SPEC, VARIANTS["cpu"])


def test_an_ensemble_has_steps_and_neither_backend_nor_instances():
    step = EnsembleStep("net", {"crops": "crops"}, {"probabilities": "probabilities"})
    text = render(ModelSpec("all", 64, _SPEC.inputs, _SPEC.outputs, {}, (step,)), VARIANTS["cpu"])
    assert 'platform: "ensemble"' in text
    assert 'model_name: "net"' in text
    assert "backend" not in text
    assert "instance_group" not in text


@pytest.mark.parametrize("name", VARIANTS)
def test_triton_can_parse_every_variant(name):
    model_config = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    text_format = pytest.importorskip("google.protobuf.text_format")
    config = text_format.Parse(render(_SPEC, VARIANTS[name]), model_config.ModelConfig())
    assert config.max_batch_size == rows_at_once(_SPEC, VARIANTS[name])
    assert config.parameters["task"].string_value == "classification"


@pytest.mark.parametrize(("side", "rows"), [(96, 32), (512, 2), (1024, 1)])
def test_a_core_computes_no_more_pixels_at_once_than_its_caches_hold(side, rows):
    spec = replace(_SPEC, inputs=(TensorSpec("images", "TYPE_UINT8", (side, side, 3)),))
    assert rows_at_once(spec, VARIANTS["embedded"]) == rows
    assert rows_at_once(spec, VARIANTS["cpu"]) == 64
    assert rows_at_once(spec, VARIANTS["tiny"]) == 1
    votes = replace(_SPEC, inputs=(TensorSpec("votes", "TYPE_FP32", (11,)),))
    assert rows_at_once(votes, VARIANTS["embedded"]) == 32
