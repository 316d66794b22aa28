"""Finds the Triton inside the PyPI wheel ``nvidia-pytriton`` and says plainly where it cannot run."""

from __future__ import annotations

import os
import platform
import re
import shlex
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

WHEEL = "nvidia-pytriton"
TRITON_VERSION = "2.51.0"
CONTAINER_IMAGE = "nvcr.io/nvidia/tritonserver:24.10-py3"
"""NVIDIA's image with the same Triton version as the wheel (release notes 24.10: Triton 2.51.0)."""


class TritonUnavailable(RuntimeError):
    """The wheel's Triton cannot run here.

    Attributes:
        reason: what is missing, in a few words.
        container_command: the command line that serves the same model repository from NVIDIA's image.
    """

    def __init__(self, reason: str, container_command: str) -> None:
        self.reason = reason
        self.container_command = container_command
        super().__init__(
            f"the embedded Triton cannot run here: {reason}. Run NVIDIA's container instead:\n  {container_command}"
        )


@dataclass(frozen=True)
class TritonWheel:
    """Where the parts of an installed wheel lie."""

    version: str
    """Version of the wheel (not of Triton)."""
    binary: Path
    """``tritonserver``."""
    python_backend: Path
    """Folder of Triton's Python backend, without a stub."""
    stub: Path
    """Stub process for the running Python version."""
    library_folders: tuple[Path, ...]
    """What the binary and the stub need on ``LD_LIBRARY_PATH``."""


def container_command(repository: Path, config_name: str = "cpu", models: Sequence[str] = ()) -> str:
    """The command line that serves ``repository`` from NVIDIA's image, listening on this machine's loopback only."""
    ports = [word for port in (8000, 8001, 8002) for word in ("-p", f"127.0.0.1:{port}:{port}")]
    control = ["--model-control-mode=explicit", *(f"--load-model={m}" for m in models)] if models else []
    return shlex.join(
        [
            *("docker", "run", "--rm", "--shm-size=1g"),
            *ports,
            *("-v", f"{repository.absolute()}:/models:ro"),
            CONTAINER_IMAGE,
            *("tritonserver", "--model-repository=/models", f"--model-config-name={config_name}"),
            *("--exit-on-error=false", "--strict-readiness=false"),
            *control,
        ]
    )


def check_machine(repository: Path, models: Sequence[str] = ()) -> None:
    """Checks that this is a machine for which there is a wheel, installed or not.

    Raises:
        TritonUnavailable: it is not Linux on x86-64.
    """
    if sys.platform != "linux":
        reason = f"it is a Linux program and this is {platform.system()}"
    elif platform.machine() not in ("x86_64", "AMD64"):
        reason = f"it is an x86-64 program and this is {platform.machine()}"
    else:
        return
    raise TritonUnavailable(reason, container_command(repository, models=models))


def find_wheel(repository: Path, models: Sequence[str] = ()) -> TritonWheel:
    """Finds the wheel and checks, without starting anything, that its Triton can run on this machine.

    Args:
        repository: the model repository; with ``models`` only for the container command line of the error.
        models: the models to load, all if empty.

    Raises:
        TritonUnavailable: not Linux on x86-64 with a recent glibc, the wheel is not installed or lacks a part.
    """

    def unavailable(reason: str) -> TritonUnavailable:
        return TritonUnavailable(reason, container_command(repository, models=models))

    check_machine(repository, models)
    try:
        distribution = metadata.distribution(WHEEL)
    except metadata.PackageNotFoundError:
        raise unavailable(f"the package {WHEEL} is not installed (extra 'embedded')") from None
    needed = _glibc_needed(distribution.read_text("WHEEL") or "")
    present = _glibc_present()
    if present is None:
        raise unavailable("it needs glibc, and this C library is another")
    if present < needed:
        raise unavailable(f"it needs glibc {_dotted(needed)} and this is {_dotted(present)}")

    root = Path(str(distribution.locate_file("pytriton/tritonserver")))
    python_version = f"{sys.version_info.major}.{sys.version_info.minor}"
    wheel = TritonWheel(
        version=distribution.version,
        binary=root / "bin" / "tritonserver",
        python_backend=root / "backends" / "python",
        stub=root / "python_backend_stubs" / python_version / "triton_python_backend_stub",
        library_folders=(
            Path(str(distribution.locate_file("nvidia_pytriton.libs"))),
            *_python_library_folder(),
        ),
    )
    if not wheel.stub.exists():
        raise unavailable(f"{WHEEL} {wheel.version} has no stub for Python {python_version}")
    for part in (wheel.binary, wheel.python_backend, wheel.library_folders[0]):
        if not part.exists():
            raise unavailable(f"{WHEEL} {wheel.version} lacks {part.name}")
    if len(wheel.library_folders) == 1:
        library = sysconfig.get_config_var("INSTSONAME")
        package = f"libpython{python_version}"
        raise unavailable(
            f"this Python has no shared library ({library}), which Triton's stub needs "
            f"(Debian and Ubuntu have it in the package {package})"
        )
    first_python = Path(sys.executable).parent / "python3"
    if not first_python.exists() or not first_python.samefile(sys.executable):
        raise unavailable(
            f"Triton's stub would not find this Python's packages: {first_python} is not this Python"
        )
    return wheel


def _python_library_folder() -> list[Path]:
    """The folder of the running Python's shared library; empty where it was built without one."""
    library = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    configured = Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib")
    multiarch = sysconfig.get_config_var("MULTIARCH") or ""
    # sys.base_prefix covers Pythons that were moved after they were built.
    candidates = (Path(sys.base_prefix) / "lib", configured, configured / multiarch)
    return [folder for folder in candidates if (folder / library).exists()][:1]


def _glibc_needed(wheel_metadata: str) -> tuple[int, int]:
    match = re.search(r"manylinux_(\d+)_(\d+)_x86_64", wheel_metadata)
    return (int(match[1]), int(match[2])) if match else (2, 35)


def _glibc_present() -> tuple[int, int] | None:
    try:
        version = os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (ValueError, OSError):
        return None
    match = re.fullmatch(r"glibc (\d+)\.(\d+).*", version)
    return (int(match[1]), int(match[2])) if match else None


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))


if __name__ == "__main__":  # for `make`, before anything is installed
    try:
        check_machine(Path("model_repository"))
    except TritonUnavailable as error:
        sys.exit(f"error: {error}")
