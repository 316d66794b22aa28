"""``python -m services.triton.verify REPOSITORY``: whether each file that Triton may load is the one that was measured.

Each model's configuration names the SHA-256 of its file. Our backend checks it each time it loads a file; this checks a
whole repository before any Triton starts, NVIDIA's with its own backends included, as a container that runs first does.
It also refuses what no digest covers: a file more in a version's folder, such as a ``model.py`` that Triton would run.

Exit status: 0 all are as they should be; 1 some are not, each named on standard error; 2 there is nothing to verify.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

_DIGEST: Final = "sha256"
_DEFAULT_FILENAME: Final = "model.onnx"
_KEEPS_A_FOLDER: Final = ".gitkeep"


def models(repository: Path) -> list[Path]:
    """The folders of a repository that Triton takes for models, in order of name."""
    return sorted(path for path in repository.iterdir() if path.is_dir() and not path.name.startswith("."))


def problems(model: Path) -> Iterator[str]:
    """What is not as it should be with the files of one model's folder, one sentence each."""
    try:
        configs = [_read(path) for path in _config_paths(model)]
    except (OSError, text_format.ParseError) as error:
        yield f"{model.name}: its configuration cannot be read: {error}"
        return
    if not configs:
        yield f"{model.name}: has no configuration, and so no digest"
        return
    digests = {_digest(config) for config in configs}
    if len(digests) != 1:
        yield f"{model.name}: its configurations name different digests"
        return
    (expected,) = digests
    config = configs[0]
    if config.platform == "ensemble":
        yield from _uncovered(model, covered=None)
        yield from _problems_of_ensemble(model, config, expected)
        return
    filename = config.default_model_filename or _DEFAULT_FILENAME
    yield from _uncovered(model, covered=filename)
    if expected is None:
        yield f"{model.name}: its configuration has no parameter {_DIGEST}"
        return
    versions = [folder for folder in model.iterdir() if folder.is_dir() and folder.name.isdigit()]
    if not versions:
        yield f"{model.name}: has no version"
    for version in sorted(versions):
        path = version / filename
        name = f"{model.name}/{version.name}/{filename}"
        if not path.is_file():
            yield f"{name}: missing"
        elif (found := file_digest(path)) != expected:
            yield f"{name}: expected SHA-256 {expected}, found {found}"


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in lower-case hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _DIGEST).hexdigest()


def _uncovered(model: Path, covered: str | None) -> Iterator[str]:
    """Files in versions' folders that no digest speaks for."""
    for path in sorted(model.rglob("*")):
        parts = path.relative_to(model).parts
        in_version = len(parts) > 1 and parts[0].isdigit()
        if in_version and not path.is_dir() and parts[1:] not in ((covered,), (_KEEPS_A_FOLDER,)):
            yield f"{model.name}/{'/'.join(parts)}: no digest covers it"


def _problems_of_ensemble(
    model: Path, config: model_config_pb2.ModelConfig, expected: str | None
) -> Iterator[str]:
    """An ensemble has no file; the digest that it names is that of the step that votes."""
    steps = [step.model_name for step in config.ensemble_scheduling.step]
    missing = [step for step in steps if not (model.parent / step).is_dir()]
    if missing:
        yield f"{model.name}: its steps {', '.join(missing)} are not in the repository"
    elif expected is not None and not any(_names(model.parent / step, expected) for step in steps):
        yield f"{model.name}: none of its steps has the digest that it names"


def _names(model: Path, digest: str) -> bool:
    try:
        return any(_digest(_read(path)) == digest for path in _config_paths(model))
    except (OSError, text_format.ParseError):  # which is said of the model itself
        return False


def _config_paths(model: Path) -> list[Path]:
    return [
        path for path in (model / "config.pbtxt", *sorted(model.glob("configs/*.pbtxt"))) if path.exists()
    ]


def _read(path: Path) -> model_config_pb2.ModelConfig:
    return text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())


def _digest(config: model_config_pb2.ModelConfig) -> str | None:
    return config.parameters[_DIGEST].string_value if _DIGEST in config.parameters else None


def main(arguments: list[str]) -> int:
    """Verify the repository that the arguments name; returns the exit status."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        sys.stderr.write("usage: python -m services.triton.verify REPOSITORY\n")
        return 2
    found = models(Path(arguments[0]))
    if not found:
        sys.stderr.write(f"error: there are no models in {arguments[0]}\n")
        return 2
    wrong = [problem for model in found for problem in problems(model)]
    for problem in wrong:
        sys.stderr.write(f"error: {problem}\n")
    if not wrong:
        sys.stdout.write(f"{len(found)} models are what their configurations say\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
