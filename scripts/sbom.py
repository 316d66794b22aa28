"""Writes what an image is made of: a CycloneDX bill of materials of its locked packages and of our own networks.

    python scripts/sbom.py LOCK OUTPUT

The packages are read from the lock by `cyclonedx-py`; each network of model_repository/ is added as a component of type
machine-learning-model, with the SHA-256 of its file and its licence, both as its configuration says. The result is
checked against CycloneDX's schema.
"""

import argparse
import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

ROOT = Path(__file__).resolve().parent.parent
REPOSITORY = ROOT / "model_repository"


def packages(lock: Path) -> Bom:
    """The packages of a lock, and HemaServe itself as what they are for."""
    command = [
        *(sys.executable, "-m", "cyclonedx_py", "requirements", str(lock), "--output-reproducible"),
        *("--pyproject", str(ROOT / "pyproject.toml"), "--spec-version", "1.6", "--output-format", "JSON"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    bom: Bom = Bom.from_json(json.loads(done.stdout))  # type: ignore[attr-defined]
    return bom


def networks(repository: Path = REPOSITORY) -> Iterator[Component]:
    """The networks of a repository; an ensemble has no file and is none."""
    licences = LicenseFactory()
    for path in sorted(repository.glob("*/config.pbtxt")):
        config = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
        if config.platform == "ensemble":
            continue
        said = {key: value.string_value for key, value in config.parameters.items()}
        versions = [folder.name for folder in path.parent.iterdir() if folder.name.isdigit()]
        for version in sorted(versions, key=int):
            yield Component(
                type=ComponentType.MACHINE_LEARNING_MODEL,
                name=config.name,
                version=version,
                bom_ref=f"network:{config.name}@{version}",
                description=said.get("title") or f"{said['task']} network of HemaServe",
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=said["sha256"])],
                licenses=[licences.make_from_string(said["licence"])],
            )


def document(lock: Path) -> str:
    """The bill of materials as JSON.

    Raises:
        SystemExit: it is not what CycloneDX's schema wants.
    """
    bom = packages(lock)
    parts = [*bom.components, *networks()]
    bom.components.update(parts)
    if bom.metadata.component is not None:
        bom.register_dependency(bom.metadata.component, parts)
    with warnings.catch_warnings(action="ignore"):
        text = JsonV1Dot6(bom).output_as_string(indent=2)
    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if problem is not None:
        raise SystemExit(f"error: the bill of materials of {lock.name} is not valid: {problem}")
    return text + "\n"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("lock", type=Path)
    parser.add_argument("output", type=Path)
    options = parser.parse_args(arguments)
    text = document(options.lock)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text)
    count = len(json.loads(text)["components"])
    print(f"{options.output}: {count} components")


if __name__ == "__main__":
    main()
