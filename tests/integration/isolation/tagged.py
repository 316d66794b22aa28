"""Crops that carry a tag, networks that read it from the pixels, and the check that an answer carries its crop's own.

A tag is a number of 24 bits, and a crop is a square of the colour that those bits make. A network says the tag twice:
its score is read from the darkest pixels, its probabilities from the brightest. So a row of another crop has the wrong
tag, and a crop that is torn, with pixels of two crops in it, has two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..small_models import onnx, tensor_config, write_model

SIDE = 16
LEAVES = ("lymphocyte", "monocyte", "eosinophil", "basophil", "erythroblast", "platelet")
TAGGED = "tagged"
TAGGED_OPENVINO = "tagged_openvino"
ENSEMBLE = "ensemble"
MIXED_UP = "mixed_up"
"""A network that answers each row of its batch with another row: what the check has to notice."""

TAGS = 255 << 16
"""Tags are below this number."""
POISON = 255 << 16
"""A crop with this tag or a greater one makes a run of the network `tagged` fail, with all that is in its batch."""

_MAX_BATCH = 16
_EACH = 3 * 255
"""Three pairs of probabilities, of which each sums to a third, in steps of a 255th of that."""


@dataclass(frozen=True)
class Row:
    """What was answered about one crop."""

    score: float
    probabilities: Sequence[float]


def crop(tag: int, side: int = SIDE) -> np.ndarray:
    """uint8 [side, side, 3], all of the tag's colour."""
    colour = np.array([tag & 255, tag >> 8 & 255, tag >> 16], np.uint8)
    return np.broadcast_to(colour, (side, side, 3)).copy()


def tags_of(row: Row) -> set[int]:
    """The tags that a row carries: one when all is well."""
    red, _, green, _, blue, _ = (round(share * _EACH) for share in row.probabilities)
    return {round(row.score), red | green << 8 | blue << 16}


def strangers(answered: Sequence[tuple[int, Row]]) -> dict[int, set[int]]:
    """By the tag that was sent, the tags that came back where they are not that one alone."""
    found = ((sent, tags_of(row)) for sent, row in answered)
    return {sent: came for sent, came in found if came != {sent}}


def write_networks(repository: Path) -> None:
    """All of them, with dynamic batching that waits for company."""
    _write(repository, TAGGED, "onnxruntime")
    _write(repository, TAGGED_OPENVINO, "openvino")
    _write(repository, MIXED_UP, "onnxruntime")
    _write_ensemble(repository, (TAGGED, TAGGED_OPENVINO))


def _write(repository: Path, name: str, runtime: str) -> None:
    node = onnx.helper.make_node
    constants = {
        "weights": np.array([[1], [256], [65536]], np.float32),
        "pairs": np.repeat(np.eye(3), 2, axis=1).astype(np.float32)
        * np.array([1, -1] * 3, np.float32)
        / _EACH,
        "thirds": np.array([0, 1 / 3] * 3, np.float32),
        "blue": np.array([2]),
        # One for each blue there is; looking up one that is not there is an error in ONNX Runtime, not in OpenVINO.
        "zeros": np.zeros(POISON >> 16 if runtime == "onnxruntime" else 256, np.float32),
        "first": np.array([-1]),
        "last": np.array([-(2**31)]),
        "rows": np.array([0]),
        "back": np.array([-1]),
    }
    nodes = [
        *(
            [node("Slice", ["crops", "first", "last", "rows", "back"], ["turned"])]
            if name == MIXED_UP
            else []
        ),
        node("Cast", ["turned" if name == MIXED_UP else "crops"], ["pixels"], to=onnx.TensorProto.FLOAT),
        node("ReduceMin", ["pixels"], ["darkest"], axes=[1, 2], keepdims=0),
        node("ReduceMax", ["pixels"], ["brightest"], axes=[1, 2], keepdims=0),
        node("MatMul", ["darkest", "weights"], ["tag"]),
        node("Gemm", ["brightest", "pairs", "thirds"], ["probabilities"]),
        node("Gather", ["darkest", "blue"], ["blues"], axis=1),
        node("Cast", ["blues"], ["place"], to=onnx.TensorProto.INT64),
        node("Gather", ["zeros", "place"], ["nothing"]),
        node("Add", ["tag", "nothing"], ["ood_score"]),
    ]
    more = (
        "instance_group [{ kind: KIND_CPU count: 2 }]\n"
        "dynamic_batching { max_queue_delay_microseconds: 10000\n"
        "  default_queue_policy { timeout_action: REJECT allow_timeout_override: true } }\n"
        + _parameters(runtime=runtime, precision="f32")
    )
    write_model(
        repository,
        name,
        tensor_config(_CROPS, _OUTPUTS, more, max_batch_size=_MAX_BATCH),
        nodes=nodes,
        inputs=[("crops", "UINT8", ["N", SIDE, SIDE, 3])],
        outputs=[("probabilities", "FLOAT", ["N", len(LEAVES)]), ("ood_score", "FLOAT", ["N", 1])],
        constants=constants,
    )
    _enter_digest(repository / name)


def _write_ensemble(repository: Path, members: tuple[str, ...]) -> None:
    """Members side by side, and the mean of what they say: one whose rows are another's makes a tag of nobody's."""
    outputs = ("probabilities", "ood_score")
    node = onnx.helper.make_node
    ports = {"probabilities": len(LEAVES), "ood_score": 1}
    inputs = [
        (f"{member}_{output}", "FLOAT", ["N", ports[output]]) for output in outputs for member in members
    ]
    write_model(
        repository,
        "vote",
        tensor_config(
            ",".join(
                f'{{name: "{name}" data_type: TYPE_FP32 dims: [{dims[1]}]}}' for name, _, dims in inputs
            ),
            _OUTPUTS,
            "dynamic_batching {}\n" + _parameter("precision", "f32"),
            max_batch_size=_MAX_BATCH,
        ),
        nodes=[node("Mean", [f"{member}_{output}" for member in members], [output]) for output in outputs],
        inputs=inputs,
        outputs=[(output, "FLOAT", ["N", ports[output]]) for output in outputs],
    )
    steps = [
        _step(member, {"crops": "crops"}, {output: f"{member}_{output}" for output in outputs})
        for member in members
    ]
    of_members = {f"{member}_{output}": f"{member}_{output}" for member in members for output in outputs}
    steps.append(_step("vote", of_members, {output: output for output in outputs}))
    said = ",".join(
        f'{{name: "{member}_probabilities" data_type: TYPE_FP32 dims: [{len(LEAVES)}]}}' for member in members
    )
    write_model(
        repository,
        ENSEMBLE,
        f'platform: "ensemble"\nmax_batch_size: {_MAX_BATCH}\ninput [{_CROPS}]\noutput [{_OUTPUTS}, {said}]\n'
        f"ensemble_scheduling {{ step [{','.join(steps)}] }}\n"
        + _parameters(members=",".join(members), vote_temperature="1", sha256="0" * 64),
    )


def _step(model: str, inputs: dict[str, str], outputs: dict[str, str]) -> str:
    maps = [
        *(f'input_map {{ key: "{key}" value: "{value}" }}' for key, value in inputs.items()),
        *(f'output_map {{ key: "{key}" value: "{value}" }}' for key, value in outputs.items()),
    ]
    return f'{{ model_name: "{model}" model_version: -1 {" ".join(maps)} }}'


def _parameters(**more: str) -> str:
    values = {
        "task": "classification",
        "title": "Says a crop's tag",
        "licence": "Apache-2.0",
        "preprocessing_version": "1",
        "leaf_types": ",".join(LEAVES),
        "crop_margin": "0.15",
        "identify_threshold": "0",
        "leaf_threshold": "0",
        **more,
    }
    return "".join(_parameter(key, value) for key, value in values.items())


def _parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'


def _enter_digest(folder: Path) -> None:
    digest = hashlib.sha256((folder / "1" / "model.onnx").read_bytes()).hexdigest()
    config = folder / "config.pbtxt"
    config.write_text(config.read_text() + _parameter("sha256", digest))


_CROPS = f'{{name: "crops" data_type: TYPE_UINT8 dims: [{SIDE}, {SIDE}, 3]}}'
_OUTPUTS = (
    f'{{name: "probabilities" data_type: TYPE_FP32 dims: [{len(LEAVES)}]}}, '
    '{name: "ood_score" data_type: TYPE_FP32 dims: [1]}'
)
