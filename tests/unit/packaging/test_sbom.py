"""The bill of materials names every locked package and every network, with its digest and its licence."""

import hashlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOCK = ROOT / "deploy" / "requirements" / "networks.txt"


@pytest.fixture(scope="module")
def bom(script):
    return json.loads(script("sbom").document(LOCK))


def test_it_has_every_locked_package(bom):
    packages = {part["name"]: part["version"] for part in bom["components"] if part["type"] == "library"}
    pinned = dict(line.split()[0].split("==") for line in LOCK.read_text().splitlines() if "==" in line)
    assert packages == pinned


def test_it_has_every_network_with_the_digest_of_its_file_and_its_licence(bom):
    networks = {part["name"]: part for part in bom["components"] if part["type"] == "machine-learning-model"}
    files = {path.parts[-3]: path for path in (ROOT / "model_repository").glob("*/1/model.onnx")}

    assert networks.keys() == files.keys()
    for name, part in networks.items():
        digest = hashlib.sha256(files[name].read_bytes()).hexdigest()
        assert part["hashes"] == [{"alg": "SHA-256", "content": digest}]
        (licence,) = part["licenses"]
        assert licence.get("license", licence)


def test_it_is_about_hemaserve_which_depends_on_all_of_it(bom):
    root = bom["metadata"]["component"]
    (needs,) = [entry["dependsOn"] for entry in bom["dependencies"] if entry["ref"] == root["bom-ref"]]

    assert root["name"] == "hemaserve"
    assert set(needs) == {part["bom-ref"] for part in bom["components"]}
