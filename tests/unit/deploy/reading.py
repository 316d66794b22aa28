"""What manifests say, in the words of tests."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from services.classifier.settings import ClassifierSettings
from services.detector.settings import DetectorSettings
from services.gateway.settings import GatewaySettings

Manifest = dict[str, Any]

SETTINGS: Final = {
    "gateway": GatewaySettings,
    "detector": DetectorSettings,
    "classifier": ClassifierSettings,
}
TRITONS: Final = {"triton-detection": "detector", "triton-classification": "classifier"}
"""Each Triton, and who calls it."""
WORKLOADS: Final = (*SETTINGS, *TRITONS)

_UNITS: Final = {"": 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "m": 1e-3}


def quantity(text: str) -> float:
    """A quantity of Kubernetes: bytes, or cores."""
    number, unit = re.fullmatch(r"([0-9.]+)(\w*)", str(text)).groups()
    return float(number) * _UNITS[unit]


@dataclass
class Deployed:
    """All resources of an overlay."""

    manifests: list[Manifest]

    def of(self, kind: str) -> dict[str, Manifest]:
        """All resources of a kind, by name."""
        return {one["metadata"]["name"]: one for one in self.manifests if one["kind"] == kind}

    def pod(self, workload: str) -> Manifest:
        """The pod of a Deployment."""
        return self.of("Deployment")[workload]["spec"]["template"]["spec"]

    def container(self, workload: str) -> Manifest:
        """The container that serves."""
        (one,) = self.pod(workload)["containers"]
        return one

    def containers(self) -> Iterator[tuple[str, Manifest]]:
        """All containers, those that come before the others too."""
        for name in self.of("Deployment"):
            pod = self.pod(name)
            for one in (*pod.get("initContainers", ()), *pod["containers"]):
                yield name, one

    def environment(self, service: str) -> dict[str, str]:
        """What a service is told."""
        container = self.container(service)
        assert "env" not in container, "settings come from ConfigMaps"
        maps = self.of("ConfigMap")
        told = {}
        for source in container["envFrom"]:
            told |= maps[source["configMapRef"]["name"]]["data"]
        return told

    def settings(self, service: str) -> Any:
        """A service's settings, read as the service reads them, but for this process's own environment."""
        prefix = SETTINGS[service].model_config["env_prefix"]
        told = self.environment(service)
        unknown = {
            name
            for name in told
            if not name.startswith(prefix)
            or name.removeprefix(prefix).lower() not in SETTINGS[service].model_fields
        }
        if unknown:
            raise ValueError(f"{service} knows no {', '.join(sorted(unknown))}")
        return _read(service, told)

    def command(self, triton: str) -> list[str]:
        """The whole command line of a Triton."""
        container = self.container(triton)
        return [*container["command"], *container["args"]]

    def tracing(self, triton: str) -> list[str]:
        """What a Triton is told of traces; an option that may be given often."""
        return [word for word in self.command(triton) if word.startswith("--trace-config=")]

    def options(self, triton: str) -> dict[str, str]:
        """The other options of a Triton; each may be given once."""
        words = [word for word in self.command(triton)[1:] if word not in self.tracing(triton)]
        pairs = [word.removeprefix("--").partition("=") for word in words]
        options = {name: value for name, _, value in pairs}
        assert len(options) == len(pairs), "an option is given twice"
        return options

    @cached_property
    def port_names(self) -> dict[str, dict[str, int]]:
        """By workload and name, the ports of containers."""
        return {
            name: {port["name"]: port["containerPort"] for port in self.container(name)["ports"]}
            for name in self.of("Deployment")
        }


def _read(service: str, told: dict[str, str]) -> Any:
    import os
    from unittest import mock

    with mock.patch.dict(os.environ, told, clear=True):
        return SETTINGS[service](_env_file=None)
