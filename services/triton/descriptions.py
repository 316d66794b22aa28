"""What Triton knows of its models, in our words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tritonclient.grpc import model_config_pb2


@dataclass(frozen=True, slots=True)
class TensorDescription:
    """One input or output of a model.

    Attributes:
        name: its name in requests.
        dtype: Triton's name of the type, e.g. ``UINT8`` or ``FP32``.
        dims: without the batch dim where the model batches; -1 for a dim that a request decides.
    """

    name: str
    dtype: str
    dims: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """What Triton knows of a loaded model.

    Attributes:
        name: its name in requests.
        version: the version that a request without one gets (the highest that is loaded).
        versions: all loaded versions, lowest first.
        platform: e.g. ``ensemble`` or ``onnxruntime_onnx``.
        backend: e.g. ``onnxruntime``; empty for an ensemble.
        max_batch_size: most rows of one request; 0 where the model does not batch.
        inputs: in the order of the configuration.
        outputs: in the order of the configuration.
        parameters: the configuration's free parameters: labels, thresholds, digests.
    """

    name: str
    version: str
    versions: tuple[str, ...]
    platform: str
    backend: str
    max_batch_size: int
    inputs: tuple[TensorDescription, ...]
    outputs: tuple[TensorDescription, ...]
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelState:
    """One entry of Triton's repository index.

    Attributes:
        name: the model's name.
        version: a version; empty for a model that was never loaded.
        ready: whether it answers requests.
        reason: why not, in Triton's words: for logs, not for callers.
    """

    name: str
    version: str
    ready: bool
    reason: str = ""


def described(config: Any, versions: Iterable[str]) -> ModelDescription:
    """A loaded model.

    Args:
        config: Triton's `ModelConfig`.
        versions: those that are loaded.
    """
    loaded = tuple(sorted(versions, key=int))
    return ModelDescription(
        name=config.name,
        version=loaded[-1] if loaded else "",
        versions=loaded,
        platform=config.platform,
        backend=config.backend,
        max_batch_size=config.max_batch_size,
        inputs=tuple(_tensor(entry) for entry in config.input),
        outputs=tuple(_tensor(entry) for entry in config.output),
        parameters={key: value.string_value for key, value in config.parameters.items()},
    )


def _tensor(entry: Any) -> TensorDescription:
    data_type = model_config_pb2.DataType.Name(entry.data_type).removeprefix("TYPE_")
    return TensorDescription(entry.name, data_type, tuple(entry.dims))
