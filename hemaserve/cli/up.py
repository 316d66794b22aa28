"""`hemaserve up`."""

from pathlib import Path
from typing import Annotated

import typer

from hemaserve.cli import options
from hemaserve.cli.stack import become_stack
from hemaserve.client import DEFAULT_ADDRESS


def up(  # noqa: PLR0917 - each is an option
    address: options.Address = DEFAULT_ADDRESS,
    model_repository: Annotated[
        Path | None,
        typer.Option(
            "--model-repository", metavar="DIR", help="Triton's model repository. Default: the checkout's."
        ),
    ] = None,
    tls: Annotated[
        Path | None,
        typer.Option(
            "--tls",
            metavar="DIR",
            file_okay=False,
            help="TLS with the certificates in DIR: at the gateway, and both ways between the services. "
            "See `hemaserve certificates`.",
        ),
    ] = None,
    client_certificates: Annotated[
        bool, typer.Option(help="With --tls: whether clients of the gateway must show a certificate.")
    ] = True,
    allow_insecure: Annotated[
        bool,
        typer.Option(
            "--allow-insecure",
            help="Listen beyond the loopback without TLS; only where something else encrypts.",
        ),
    ] = False,
    access: Annotated[
        Path | None,
        typer.Option(
            "--access",
            metavar="FILE",
            dir_okay=False,
            help="Let in only the clients of this file, see `hemaserve keys`; calls are written to audit.jsonl beside "
            "the log files.",
        ),
    ] = None,
    rollout: Annotated[
        Path | None,
        typer.Option(
            "--rollout",
            metavar="FILE",
            dir_okay=False,
            help="Which versions of a model answer, see docs/operating.md; read again when it changes.",
        ),
    ] = None,
    profile: options.Profile = None,
    models: Annotated[
        str | None,
        typer.Option(
            "--models",
            metavar="A,B",
            help="Networks to load at the start, in place of the profile's. Empty: all.",
        ),
    ] = None,
    profiles: options.Profiles = None,
    triton: Annotated[
        str | None,
        typer.Option(
            "--triton", metavar="HOST:PORT", help="Use a Triton that runs already, e.g. in a container."
        ),
    ] = None,
    log_dir: Annotated[
        Path | None,
        typer.Option(
            "--log-dir", metavar="DIR", help="For log files. Default: ~/.local/state/hemaserve/logs."
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show all logs on the terminal instead of writing files.")
    ] = False,
    replicas: Annotated[
        int | None,
        typer.Option(
            "--replicas",
            min=1,
            max=8,
            metavar="N",
            help="How many of each process, so that any may fail. Default: 1.",
        ),
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option(
            "--ready-file", metavar="FILE", help="JSON with addresses and process ids, written when ready."
        ),
    ] = None,
) -> None:
    """Run the whole stack on this machine, until Ctrl-C.

    Starts NVIDIA Triton, the detector, the classifier and the gateway, and prints a line for each as it gets ready.
    One that dies is started again. Only the gateway's address matters to clients; the others listen on free ports of
    the loopback. Without TLS the gateway listens on the loopback only as well, for whoever uses this machine.

    A profile says what is loaded: `tiny` small networks and no others, for a laptop or an instrument, with all that
    runs below 300 MB after work; `default` the ensemble and its detector, and others of the repository when they are
    first asked for; `full` all of the repository, at the start.

    With `--replicas 2` there are two of each process, and the loss of any one is not noticed but by its load on the
    other. The first gateway listens at the address; the line that says that all is ready has the others' too: name
    them all to clients.

    Needs the extras: pip install 'hemaserve[services,embedded]'

    Examples:

        hemaserve up

        hemaserve up --profile tiny

        hemaserve certificates tls/ && hemaserve up --tls tls/ --address 0.0.0.0:50051

        hemaserve up --replicas 2

        hemaserve up --triton 127.0.0.1:8001
    """
    arguments = ["--address", options.check_listen(address)]
    for flag, value in (
        ("--tls", tls),
        ("--access", access),
        ("--rollout", rollout),
        ("--model-repository", model_repository),
        ("--profile", profile),
        ("--models", models),
        ("--site-profiles", profiles),
        ("--triton", triton),
        ("--log-dir", log_dir),
        ("--replicas", replicas),
        ("--ready-file", ready_file),
    ):
        if value is not None:
            arguments += [flag, str(value)]
    if not client_certificates:
        arguments.append("--no-client-certificates")
    if allow_insecure:
        arguments.append("--allow-insecure")
    if verbose:
        arguments.append("--verbose")
    become_stack(arguments)
