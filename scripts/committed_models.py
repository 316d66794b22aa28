"""Writes hemaserve/committed_models.json: the digest of each network of the repository, for clients to compare with."""

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "hemaserve" / "committed_models.json"


def digests(repository: Path) -> dict[str, str]:
    """SHA-256 that each model's configuration names, by the model's name."""
    found = {}
    for path in sorted(repository.glob("*/config.pbtxt")):
        digest = re.search(r'key: "sha256" value: \{ string_value: "([0-9a-f]{64})" \}', path.read_text())
        if digest is not None:
            found[path.parent.name] = digest[1]
    return found


if __name__ == "__main__":
    TARGET.write_text(json.dumps(digests(ROOT / "model_repository"), indent=2) + "\n")
