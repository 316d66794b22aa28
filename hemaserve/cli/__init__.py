"""The `hemaserve` command: one module a command."""

import os

# gRPC tells of every lost connection on the terminal; the command says itself what a person needs to know.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from hemaserve.cli.main import app

__all__ = ["app"]
