"""A model repository of tiny networks, and a Triton that serves it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest

from services.triton import guard
from services.triton.embedded import EmbeddedTriton
from training import triton_config

from ..small_models import ITS_SHA256, tensor_config, write_model

onnx = pytest.importorskip("onnx")


@contextmanager
def _frozen(triton: EmbeddedTriton, model: str = "") -> Iterator[None]:
    (server,) = guard._children(triton.pid or 0)
    stopped = [pid for pid in guard._children(server) if _runs(pid, model)] if model else [server]
    assert stopped
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in stopped:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def _runs(stub: int, model: str) -> bool:
    return f"/{model}/" in Path(f"/proc/{stub}/cmdline").read_text()


@pytest.fixture
def frozen() -> Callable[..., AbstractContextManager[None]]:
    """`with frozen(triton)`: it keeps its connections and does nothing at all; with a model, its instances alone."""
    return _frozen


def adder(repository: Path, name: str, added: float, more: str = "dynamic_batching {}") -> None:
    """x FP32 [N, 4] -> y = x + added, FP32 [N, 4]."""
    write_model(
        repository,
        name,
        tensor_config(
            '{name: "x" data_type: TYPE_FP32 dims: [4]}', '{name: "y" data_type: TYPE_FP32 dims: [4]}', more
        ),
        nodes=[onnx.helper.make_node("Add", ["x", "added"], ["y"])],
        inputs=[("x", "FLOAT", ["N", 4])],
        outputs=[("y", "FLOAT", ["N", 4])],
        constants={"added": np.full((1,), added, np.float32)},
    )


def flip_a_bit(file: Path, within: bytes) -> None:
    """Changes a number of a network that stays a sound network."""
    data = bytearray(file.read_bytes())
    assert data.count(within) == 1
    data[data.index(within) + len(within) - 2] ^= 1
    file.write_bytes(data)


def heavy(repository: Path, name: str, batching: str) -> None:
    """x FP32 [N, 512, 512] -> y = x, the long way, one row at a time."""
    write_model(
        repository,
        name,
        tensor_config(
            '{name: "x" data_type: TYPE_FP32 dims: [512, 512]}',
            '{name: "y" data_type: TYPE_FP32 dims: [512, 512]}',
            f"{batching}\ninstance_group [{{ kind: KIND_CPU count: 1 }}]",
            max_batch_size=1,
        ),
        nodes=[
            onnx.helper.make_node(
                "MatMul", ["x" if i == 0 else f"x{i}", "weights"], ["y" if i == 39 else f"x{i + 1}"]
            )
            for i in range(40)
        ],
        inputs=[("x", "FLOAT", ["N", 512, 512])],
        outputs=[("y", "FLOAT", ["N", 512, 512])],
        constants={"weights": np.eye(512, dtype=np.float32)},
    )


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound and broken models side by side."""
    root = tmp_path_factory.mktemp("models")
    node = onnx.helper.make_node
    write_model(
        root,
        "tagged",
        tensor_config(
            '{name: "pixels" data_type: TYPE_UINT8 dims: [2, 2]}, {name: "tag" data_type: TYPE_FP32 dims: [1]}',
            '{name: "pixels_out" data_type: TYPE_FP32 dims: [2, 2]}, {name: "tag_out" data_type: TYPE_FP32 dims: [1]}',
            "dynamic_batching { max_queue_delay_microseconds: 20000 }\n"
            "instance_group [{ kind: KIND_CPU count: 2 }]\n"
            'parameters { key: "labels" value { string_value: "a,b" } }',
        ),
        nodes=[
            node("Cast", ["pixels"], ["pixels_out"], to=onnx.TensorProto.FLOAT),
            node("Identity", ["tag"], ["tag_out"]),
        ],
        inputs=[("pixels", "UINT8", ["N", 2, 2]), ("tag", "FLOAT", ["N", 1])],
        outputs=[("pixels_out", "FLOAT", ["N", 2, 2]), ("tag_out", "FLOAT", ["N", 1])],
    )
    # Its configuration takes rows of any width; the network itself only such that come out as rows of 3.
    write_model(
        root,
        "picky",
        tensor_config(
            '{name: "x" data_type: TYPE_FP32 dims: [-1] allow_ragged_batch: true}',
            '{name: "y" data_type: TYPE_FP32 dims: [3]}',
            "dynamic_batching { max_queue_delay_microseconds: 200000 preferred_batch_size: [8] }",
        ),
        nodes=[node("Reshape", ["x", "shape"], ["y"])],
        inputs=[("x", "FLOAT", ["N", "K"])],
        outputs=[("y", "FLOAT", ["N", 3])],
        constants={"shape": np.array([-1, 3])},
    )
    # Enough work that a queue forms behind it: 40 products of 512 by 512 matrices for each row.
    heavy(
        root,
        "busy",
        "dynamic_batching { default_queue_policy { max_queue_size: 4 allow_timeout_override: true } }",
    )
    # The line that the exporter writes for the real networks.
    heavy(root, "levels", triton_config.batching(0))
    write_model(
        root,
        "levels_ensemble",
        """
platform: "ensemble"
max_batch_size: 1
input [{name: "x" data_type: TYPE_FP32 dims: [512, 512]}]
output [{name: "y" data_type: TYPE_FP32 dims: [512, 512]}]
ensemble_scheduling { step [{
  model_name: "levels" model_version: -1
  input_map { key: "x" value: "x" } output_map { key: "y" value: "y" }
}] }
""",
    )
    adder(root, "unbatched", 1.0)
    config = root / "unbatched" / "config.pbtxt"
    config.write_text(
        tensor_config(
            '{name: "x" data_type: TYPE_FP32 dims: [-1, 4]}',
            '{name: "y" data_type: TYPE_FP32 dims: [-1, 4]}',
            max_batch_size=0,
        )
    )
    adder(root, "one", 1.0)
    adder(root, "three", 3.0)
    write_model(
        root,
        "vote",
        tensor_config(
            '{name: "a" data_type: TYPE_FP32 dims: [4]}, {name: "b" data_type: TYPE_FP32 dims: [4]}',
            '{name: "mean" data_type: TYPE_FP32 dims: [4]}',
        ),
        nodes=[node("Add", ["a", "b"], ["sum"]), node("Mul", ["sum", "half"], ["mean"])],
        inputs=[("a", "FLOAT", ["N", 4]), ("b", "FLOAT", ["N", 4])],
        outputs=[("mean", "FLOAT", ["N", 4])],
        constants={"half": np.array([0.5], np.float32)},
    )
    write_model(
        root,
        "ensemble",
        """
platform: "ensemble"
max_batch_size: 8
input [{name: "x" data_type: TYPE_FP32 dims: [4]}]
output [
  {name: "mean" data_type: TYPE_FP32 dims: [4]},
  {name: "one_y" data_type: TYPE_FP32 dims: [4]},
  {name: "three_y" data_type: TYPE_FP32 dims: [4]}
]
ensemble_scheduling { step [
  {
    model_name: "one" model_version: -1
    input_map { key: "x" value: "x" } output_map { key: "y" value: "one_y" }
  },
  {
    model_name: "three" model_version: -1
    input_map { key: "x" value: "x" } output_map { key: "y" value: "three_y" }
  },
  {
    model_name: "vote" model_version: -1
    input_map { key: "a" value: "one_y" } input_map { key: "b" value: "three_y" }
    output_map { key: "mean" value: "mean" }
  }
] }
""",
    )
    adder(root, "mismatched", 1.0)
    config = root / "mismatched" / "config.pbtxt"
    config.write_text(
        config.read_text().replace('"x" data_type: TYPE_FP32 dims: [4]', '"x" data_type: TYPE_FP16 dims: [5]')
    )
    for name in ("sealed", "tampered"):
        adder(root, name, 1.0, f'parameters {{ key: "sha256" value {{ string_value: "{ITS_SHA256}" }} }}')
    flip_a_bit(root / "tampered" / "1" / "model.onnx", np.float32(1.0).tobytes())
    write_model(root, "empty", (root / "one" / "config.pbtxt").read_text())
    return root


@pytest.fixture(scope="session")
def triton(repository: Path, start_triton: Callable[..., EmbeddedTriton]) -> Iterator[EmbeddedTriton]:
    """One server for all tests that do it no harm."""
    with start_triton(repository) as server:
        yield server


@pytest.fixture
def small_repository(tmp_path: Path) -> Path:
    """A repository of one sound model, for servers that come to harm."""
    root = tmp_path / "models"
    adder(root, "one", 1.0)
    return root


@pytest.fixture(scope="session")
def pending_requests(metric: Callable[..., float]) -> Callable[[EmbeddedTriton, str], float]:
    """How many requests to a model wait to be run."""
    return lambda triton, model: metric(triton, "nv_inference_pending_request_count", model=model)
