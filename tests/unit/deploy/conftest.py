"""The overlays, built once."""

import copy
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ..docs.conftest import script
from .reading import Deployed

__all__ = ["script"]

ROOT = Path(__file__).parents[3]
OVERLAYS = ("cpu-production", "gpu-production", "single-node")


@pytest.fixture(scope="session")
def built(script) -> dict[str, list[dict]]:
    """All overlays by name."""
    manifests = script("manifests")
    assert manifests.OVERLAYS == OVERLAYS, "tests look at all of them"
    return {name: manifests.build(manifests.KUBERNETES / "overlays" / name) for name in OVERLAYS}


@pytest.fixture(scope="session")
def base(script) -> Deployed:
    """What overlays are made from."""
    manifests = script("manifests")
    return Deployed(manifests.build(manifests.KUBERNETES / "base"))


@pytest.fixture(params=OVERLAYS)
def overlay(request) -> str:
    """Each overlay's name in turn."""
    return request.param


@pytest.fixture
def deployed(built, overlay) -> Deployed:
    """One overlay."""
    return Deployed(built[overlay])


@pytest.fixture
def broken(built) -> Callable[..., Deployed]:
    """`broken(change)`: the CPU overlay after `change(deployed)` did something to it."""

    def after(change: Callable[[Deployed], None]) -> Deployed:
        changed = Deployed(copy.deepcopy(built["cpu-production"]))
        change(changed)
        return changed

    return after


@pytest.fixture(scope="session")
def footprint() -> dict[str, int]:
    """MiB that each service keeps resident after work, as docs/footprint.md has them of the whole repository."""
    return _footprint(2)


@pytest.fixture(scope="session")
def shares() -> dict[str, int]:
    """The same with shared pages divided among those who share them: what processes of one container take together."""
    return _footprint(3)


def _footprint(column: int) -> dict[str, int]:
    page = (ROOT / "docs" / "footprint.md").read_text().partition("## full")[2]
    rows = re.findall(r"^\| ([^|]+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    found = {name: int(sizes[column]) for name, *sizes in rows}
    assert {"gateway", "detector", "classifier", "tritonserver"} <= found.keys()
    return found


@pytest.fixture(scope="session")
def composed(script, tmp_path_factory) -> Callable[[str, str], Deployed]:
    """`composed(resources, component)`: what a folder of deploy/k8s is with one component more."""
    manifests = script("manifests")

    def build(resources: str, component: str) -> Deployed:
        inside = tmp_path_factory.mktemp(component).resolve()
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": "hemaserve",
            "resources": [os.path.relpath(manifests.KUBERNETES / resources, inside)],
            "components": [os.path.relpath(manifests.KUBERNETES / "components" / component, inside)],
        }
        (inside / "kustomization.yaml").write_text(json.dumps(kustomization))
        return Deployed(manifests.build(inside))

    return build


@pytest.fixture(scope="session")
def fallback(composed) -> Deployed:
    """The base with the component for clusters without KEDA."""
    return composed("base", "autoscaling-hpa")


@pytest.fixture(scope="session")
def traced(composed) -> Deployed:
    """The CPU overlay, with spans sent off."""
    return composed("overlays/cpu-production", "tracing")
