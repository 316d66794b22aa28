"""`hemaserve version`."""

import platform
from importlib import metadata

import grpc
import typer


def version() -> None:
    """Print the version of this command and of what it stands on."""
    typer.echo(
        f"hemaserve {installed_version()} (Python {platform.python_version()}, gRPC {grpc.__version__})"
    )


def installed_version() -> str:
    """The version of the installed distribution."""
    try:
        return metadata.version("hemaserve")
    except metadata.PackageNotFoundError:
        return "unknown"
