"""``python -m services.triton``: the embedded Triton in the foreground, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

from pydantic import ValidationError
from pydantic_settings import CliApp

from services.runtime import logs
from services.triton.embedded import EmbeddedTriton, TritonStartError
from services.triton.settings import TritonSettings
from services.triton.wheel import TritonUnavailable


def main(arguments: list[str] | None = None) -> None:
    """Runs Triton with settings from ``arguments`` (by default the command line) and the environment.

    Exits with status 1 and a message on standard error where Triton cannot run or does not become ready.
    """
    try:
        settings = CliApp.run(TritonSettings, cli_args=arguments)
    except ValidationError as error:
        sys.exit(f"error: {error}")
    logs.configure("triton", level=settings.log_level, style=settings.log_format)
    signal.signal(signal.SIGINT, _interrupt)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with EmbeddedTriton(settings) as triton:
            print(f"Triton is ready: grpc {triton.grpc_address}, http {triton.http_address}", flush=True)  # noqa: T201
            threading.Event().wait()
    except KeyboardInterrupt:
        pass
    except (TritonUnavailable, TritonStartError, OSError) as error:
        sys.exit(f"error: {error}")


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """Ends the wait, or the start; stopping has its own time limit and is not to be interrupted in its turn."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
