"""The classifiers of a model repository, as a benchmark asks them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from services.triton.backends.onnxruntime.onnx_network import Options
from services.triton.client import Array
from services.triton.descriptions import ModelDescription

CONFIG = "embedded"
TASK = "classification"
INPUT = "crops"
MB = 1e6


@dataclass(frozen=True)
class Classifier:
    """A classifier that Triton serves, and the networks that it is made of.

    Attributes:
        name: in Triton.
        batch: uint8 [N, size, size, 3], what one request holds; N is at most the model's max_batch_size.
        outputs: all that it answers; an ensemble in Triton answers all or nothing.
        files: the ONNX files of its networks: one, or one for each member of an ensemble.
        options: how the backend runs each of them.
        instances: of each of them in Triton.
        sources: digests of all that answers, by model.
    """

    name: str
    batch: Array
    outputs: tuple[str, ...]
    files: tuple[Path, ...]
    options: tuple[Options, ...]
    instances: int
    sources: dict[str, str]


def named_classifiers(repository: Path, only: Sequence[str] = ()) -> list[str]:
    """Names of the classifiers in a model repository, or of those of them that are asked for.

    Raises:
        SystemExit: one that is asked for is none of them.
    """
    folders = sorted(path.parent for path in repository.glob("*/config.pbtxt"))
    names = [f.name for f in folders if embedded_config(f).parameters["task"].string_value == TASK]
    if unknown := set(only) - set(names):
        raise SystemExit(
            f"no classifier {', '.join(sorted(unknown))} in {repository}; there are {', '.join(names)}"
        )
    return [name for name in names if not only or name in only]


def classifiers(
    repository: Path, names: Iterable[str], described: Mapping[str, ModelDescription]
) -> list[Classifier]:
    """The classifiers of these names, as Triton has them."""
    return [_classifier(repository, described[name], described) for name in names]


def _classifier(
    repository: Path, model: ModelDescription, described: Mapping[str, ModelDescription]
) -> Classifier:
    (dims,) = (entry.dims for entry in model.inputs if entry.name == INPUT)
    networks = model.parameters["members"].split(",") if "members" in model.parameters else [model.name]
    configs = [embedded_config(repository / name) for name in networks]
    # Only time is measured, and that does not depend on what is to be seen.
    pixels = np.random.default_rng(0).integers(0, 256, (max(model.max_batch_size, 1), *dims), np.uint8)
    return Classifier(
        name=model.name,
        batch=pixels,
        outputs=tuple(entry.name for entry in model.outputs),
        files=tuple(_onnx_file(repository / name, described[name].version) for name in networks),
        options=tuple(embedded_options(repository, name) for name in networks),
        instances=max(sum(group.count for group in config.instance_group) or 1 for config in configs),
        sources={
            name: described[name].parameters["sha256"] for name in dict.fromkeys([*networks, model.name])
        },
    )


def embedded_options(repository: Path, name: str) -> Options:
    """How the embedded configuration runs a network."""
    parameters = embedded_config(repository / name).parameters
    return Options.of({key: value.string_value for key, value in parameters.items()})


def embedded_config(folder: Path) -> Any:
    """A model's embedded configuration, as Triton's protobuf has it."""
    path = folder / "configs" / f"{CONFIG}.pbtxt"
    text = (path if path.exists() else folder / "config.pbtxt").read_text(encoding="utf-8")
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def _onnx_file(folder: Path, version: str) -> Path:
    return folder / version / "model.onnx"


def file_sizes(repository: Path) -> dict[str, float]:
    """Megabytes of the newest ONNX file of each model that has one."""
    files: dict[str, Path] = {}
    for file in sorted(repository.glob("*/*/model.onnx"), key=lambda file: int(file.parent.name)):
        files[file.parent.parent.name] = file
    return {name: megabytes([file]) for name, file in sorted(files.items())}


def megabytes(files: Iterable[Path]) -> float:
    """Size of files together."""
    return round(sum(file.stat().st_size for file in files) / MB, 2)
