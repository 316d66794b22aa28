"""Who may import whom, and what each install pulls in."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
SERVICES = (
    "services.detector",
    "services.classifier",
    "services.gateway",
    "services.triton",
    "services.stack",
)
SERVING = ("runtime", "gateway", "networks", "embedded", "evaluate")
"""Extras that serve; `services` is three of them by name."""


def loaded_by(*modules: str) -> set[str]:
    """Top-level packages in a fresh interpreter after importing `modules`."""
    code = f"import sys, {', '.join(modules)}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9-]", requirement)[0].lower() for requirement in requirements}


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_imports_a_training_framework(service: str):
    loaded = loaded_by(f"{service}.__main__")

    assert not loaded & {"torch", "torchvision", "ultralytics", "timm", "training", "onnx"}


@pytest.mark.parametrize("service", ["detector", "classifier", "gateway"])
def test_a_service_carries_no_other_service_and_no_network_runtime(service: str):
    others = {"detector", "classifier", "gateway"} - {service}
    code = (
        f"import sys, services.{service}.__main__; "
        f"print([m for m in sys.modules if m.split('.')[:2] in {[['services', other] for other in others]}])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
    assert not loaded_by(f"services.{service}.__main__") & {"openvino", "pytriton", "cv2"}


def test_the_client_and_the_command_load_only_what_the_plain_install_has():
    loaded = loaded_by("hemaserve.client", "hemaserve.cli")

    heavy = {"services", "scipy", "openvino", "tritonclient", "pytriton", "torch", "pycocotools", "structlog"}
    assert not loaded & heavy


def test_the_plain_install_asks_for_neither_triton_nor_a_network_runtime():
    plain = names(PROJECT["dependencies"])

    assert not plain & {"nvidia-pytriton", "tritonclient", "openvino", "onnxruntime", "torch", "scipy"}


def test_serving_asks_for_no_training_framework():
    extras = PROJECT["optional-dependencies"]
    serving = set().union(*(names(extras[extra]) for extra in SERVING))

    assert not serving & {"torch", "torchvision", "ultralytics-opencv-headless", "timm", "onnxscript"}


def test_every_requirement_is_pinned_by_the_constraints():
    extras = PROJECT["optional-dependencies"]
    wanted = names(PROJECT["dependencies"]).union(*(names(extras[extra]) for extra in (*SERVING, "dev")))
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().split()
    }

    assert wanted - pinned == set()
