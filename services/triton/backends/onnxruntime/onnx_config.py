"""What a Triton model configuration says of an ONNX file: completed where silent, checked where it speaks.

Configurations are the dictionaries that Triton's Python backend hands out (``config.pbtxt`` as JSON).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from services.triton.backends.onnxruntime.onnx_network import Port

REPOSITORY_ENV = "HEMASERVE_MODEL_REPOSITORY"
"""Triton's model repository, which Triton itself does not tell a backend that is asked to complete a configuration."""

DYNAMIC = -1
DEFAULT_FILENAME = "model.onnx"
DIGEST_PARAMETER = "sha256"
RECEIPT_OUTPUT = "received"
"""Output, UINT32 [1] a row, that the backend and not the network gives: the checksum of what it was shown."""
DEFAULT_MAX_BATCH_SIZE = 4
"""What NVIDIA's ONNX Runtime backend sets for a network that can batch and a configuration that does not say."""


class ConfigError(ValueError):
    """A configuration and its ONNX file contradict each other, or the file is missing."""


def parameters(config: Mapping[str, Any]) -> dict[str, str]:
    """The configuration's free parameters by key."""
    return {key: str(entry["string_value"]) for key, entry in (config.get("parameters") or {}).items()}


def onnx_path(config: Mapping[str, Any], model_folder: str, version: str) -> Path:
    """The ONNX file of one version of a model.

    Raises:
        ConfigError: there is no such file.
    """
    path = Path(model_folder) / version / (config.get("default_model_filename") or DEFAULT_FILENAME)
    if not path.exists():
        raise ConfigError(f"no ONNX file '{path.name}' in version {version} of model '{config.get('name')}'")
    return path


def check_digest(config: Mapping[str, Any], path: Path) -> None:
    """Checks that the file is the one that the configuration's parameter ``sha256`` names, where it names one.

    Raises:
        ConfigError: it is another.
    """
    expected = parameters(config).get(DIGEST_PARAMETER)
    if expected is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise ConfigError(
            f"file '{path.name}' of model '{config.get('name')}' is not the one that its configuration names: "
            f"expected SHA-256 {expected}, found {found}"
        )


def first_onnx_path(config: Mapping[str, Any]) -> Path | None:
    """The ONNX file of the lowest version of a model; none where the repository is not known or has no file."""
    repository = os.environ.get(REPOSITORY_ENV)
    if not repository:
        return None
    folder = Path(repository) / str(config["name"])
    filename = config.get("default_model_filename") or DEFAULT_FILENAME
    paths = [path for path in folder.glob(f"*/{filename}") if path.parent.name.isdigit()]
    return min(paths, key=lambda path: int(path.parent.name), default=None)


def is_complete(config: Mapping[str, Any]) -> bool:
    """Whether the configuration names its inputs and outputs, so that nothing has to be read from the file."""
    return bool(config.get("input")) and bool(config.get("output"))


def completed_batch_size(config: Mapping[str, Any], inputs: Sequence[Port], outputs: Sequence[Port]) -> int:
    """``max_batch_size`` for a configuration that says nothing: batching where every tensor's first dim is free."""
    configured = int(config.get("max_batch_size") or 0)
    # Triton's JSON cannot tell 0 from unset; a configuration with inputs of its own meant what it says.
    if configured or config.get("input") or config.get("output"):
        return configured
    batches = all(port.dims and port.dims[0] == DYNAMIC for port in (*inputs, *outputs))
    return DEFAULT_MAX_BATCH_SIZE if batches else 0


def entries(ports: Sequence[Port], max_batch_size: int) -> list[dict[str, Any]]:
    """``input`` or ``output`` entries for ``ports``; the batch dim is implicit where Triton batches."""
    skipped = 1 if max_batch_size else 0
    return [
        {"name": port.name, "data_type": port.data_type, "dims": list(port.dims[skipped:])} for port in ports
    ]


def check(config: Mapping[str, Any], inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
    """Checks that names, types and dims agree with the ONNX file.

    Raises:
        ConfigError: lists every disagreement, with what the file has.
    """
    batched = int(config.get("max_batch_size") or 0) > 0
    problems = [
        *_disagreements("input", config.get("input") or [], inputs, batched),
        *_disagreements("output", _of_the_network(config.get("output") or []), outputs, batched),
    ]
    missing = {port.name for port in inputs} - {entry["name"] for entry in config.get("input") or []}
    problems += [f"input '{name}' of the ONNX file is not configured" for name in sorted(missing)]
    if problems:
        raise ConfigError(f"configuration of model '{config.get('name')}': " + "; ".join(problems))


def _of_the_network(outputs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The outputs that the network gives; the other one is the backend's."""
    return [entry for entry in outputs if entry["name"] != RECEIPT_OUTPUT]


def open_inputs(config: Mapping[str, Any]) -> list[str]:
    """Names of the inputs of which a request may choose more than the number of rows."""
    return [entry["name"] for entry in config.get("input") or [] if DYNAMIC in map(int, entry["dims"])]


def _disagreements(
    what: str, configured: Sequence[Mapping[str, Any]], ports: Sequence[Port], batched: bool
) -> list[str]:
    by_name = {port.name: port for port in ports}
    problems = []
    for entry in configured:
        name = entry["name"]
        port = by_name.get(name)
        if port is None:
            problems.append(f"{what} '{name}' is not in the ONNX file, which has {sorted(by_name)}")
            continue
        if entry["data_type"] != port.data_type:
            problems.append(f"{what} '{name}' is {entry['data_type']}, the ONNX file has {port.data_type}")
        if (entry.get("reshape") or {}).get("shape"):
            problems.append(f"{what} '{name}' has a reshape, which this backend does not do")
        dims = [int(dim) for dim in entry["dims"]]
        full = [DYNAMIC, *dims] if batched else dims
        # An input dim left open would admit what the network cannot take; an output may well be known better by
        # the runtime, which infers shapes, than by the configuration.
        strict = what == "input"
        if len(full) != len(port.dims) or not all(
            _agrees(c, f, strict) for c, f in zip(full, port.dims, strict=True)
        ):
            hint = " (the first is the batch)" if batched else ""
            problems.append(f"{what} '{name}' has dims {full}, the ONNX file has {list(port.dims)}{hint}")
    return problems


def _agrees(configured: int, in_file: int, strict: bool) -> bool:
    if in_file in (DYNAMIC, configured):
        return True
    return configured == DYNAMIC and not strict
