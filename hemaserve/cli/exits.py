"""What the command's exit codes mean, and how errors become them."""

import contextlib
from collections.abc import Iterator
from enum import IntEnum
from typing import Final

import typer

from hemaserve.cli.console import err
from hemaserve.client import (
    DeadlineExceededError,
    FailedPreconditionError,
    HemaServeError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
    UnavailableError,
)


class ExitCode(IntEnum):
    """Part of the command's interface: scripts branch on them."""

    OK = 0
    INCOMPLETE = 1
    USAGE = 2
    UNREACHABLE = 3
    FAILED = 4
    DENIED = 5
    INTERRUPTED = 130


EXIT_CODES_HELP: Final = (
    "Exit codes: 0 done; 1 done, but not everything could be analysed or is ready; 2 wrong arguments, e.g. no such "
    "file or model; 3 no stack can be reached or started; 4 the stack failed; 5 the stack does not know "
    "who calls, or does not allow this; 130 interrupted."
)


@contextlib.contextmanager
def errors_told(address: str) -> Iterator[None]:
    """Tell of an error on the terminal and exit with its code; nobody who runs a command wants a traceback.

    Raises:
        typer.Exit: with the code, when the block raised one of ours.
    """
    try:
        yield
    except HemaServeError as error:
        err.print(f"[bold red]error:[/] {error}", highlight=False)
        if isinstance(error, UnavailableError | DeadlineExceededError):
            if error.reason == "UNREACHABLE":
                err.print(f"Start a stack with: hemaserve up --address {address}", highlight=False)
                err.print(
                    "One with TLS needs --tls-ca, and --tls-cert and --tls-key where it asks who calls.",
                    highlight=False,
                )
            raise typer.Exit(ExitCode.UNREACHABLE) from None
        # A model that cannot do what is asked of it is as wrong an argument as one that there is not.
        wrong_model = isinstance(error, FailedPreconditionError) and error.reason.startswith("MODEL")
        if isinstance(error, InvalidArgumentError | NotFoundError) or wrong_model:
            if error.reason.startswith("MODEL"):
                err.print("The models are listed by: hemaserve models", highlight=False)
            if error.reason.startswith("SITE_PROFILE"):
                err.print("The site profiles are listed by: hemaserve profiles", highlight=False)
            raise typer.Exit(ExitCode.USAGE) from None
        if isinstance(error, UnauthenticatedError | PermissionDeniedError):
            if isinstance(error, UnauthenticatedError):
                err.print("Give a key with --api-key-file or HEMASERVE_API_KEY; see: hemaserve keys --help")
            raise typer.Exit(ExitCode.DENIED) from None
        raise typer.Exit(ExitCode.FAILED) from None
    except KeyboardInterrupt:
        err.print("interrupted")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
