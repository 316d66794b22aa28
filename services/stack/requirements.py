"""Whether the stack can run here, found out before anything is imported that may be missing. Standard library only."""

import importlib.util
import platform
import socket
import sys
from pathlib import Path
from typing import Final

from services.triton.wheel import TritonUnavailable, find_wheel

_SERVICES: Final = (
    "cryptography",
    "google.rpc",
    "grpc_reflection",
    "jwt",
    "opentelemetry.sdk",
    "prometheus_client",
    "pydantic_settings",
    "structlog",
    "tritonclient",
)
_EMBEDDED: Final = ("onnxruntime", "openvino", "pytriton")


class CannotRun(Exception):
    """The stack cannot run here; the message says why and what to do."""


def check_packages(*, embedded: bool) -> None:
    """Check that the extras are installed.

    Args:
        embedded: whether Triton is to run here too, so that this must be a machine where its wheel runs.

    Raises:
        CannotRun: with the command that installs them, or the container that takes Triton's place.
    """
    needed = _SERVICES + _EMBEDDED if embedded and _wheel_exists_for_this_machine() else _SERVICES
    if missing := [name for name in needed if not _installed(name)]:
        raise CannotRun(
            f"packages of the stack are not installed ({', '.join(missing)}).\n"
            "Install them with: pip install 'hemaserve[services,embedded]'"
        )
    if not embedded:
        return
    try:
        find_wheel(model_repository())
    except TritonUnavailable as error:
        raise CannotRun(
            f"NVIDIA Triton's wheel cannot run on this machine: {error.reason}.\n"
            f"Run Triton in a container:\n  {error.container_command}\n"
            "and the rest beside it: hemaserve up --triton 127.0.0.1:8001"
        ) from None


def check_free(address: str) -> None:
    """Check that nothing listens at `host:port`.

    Raises:
        CannotRun: the address is taken, or is none of this machine.
    """
    host, _, port = address.rpartition(":")
    try:
        with socket.create_server((host.strip("[]"), int(port)), family=_family(host)):
            pass
    except (OSError, OverflowError):
        raise CannotRun(
            f"cannot listen on {address}: it is taken (does a stack run already? see `hemaserve health`) "
            "or not an address of this machine.\nChoose another one with --address HOST:PORT"
        ) from None


def model_repository() -> Path:
    """The checkout's model repository, or else the one of the current folder."""
    beside_the_code = Path(__file__).parents[2] / "model_repository"
    return beside_the_code if beside_the_code.is_dir() else Path("model_repository")


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _wheel_exists_for_this_machine() -> bool:
    return sys.platform == "linux" and platform.machine() == "x86_64"


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package around it is missing
        return False
