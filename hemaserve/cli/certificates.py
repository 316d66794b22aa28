"""`hemaserve certificates`."""

import re
from pathlib import Path
from typing import Annotated

import typer

from hemaserve.cli.console import err, out
from hemaserve.cli.exits import ExitCode
from hemaserve.tls_folder import CLIENTS_CA, SERVICES, SERVICES_CA, STACK

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_HOST = re.compile(r"[A-Za-z0-9*.:-]{1,253}")


def certificates(
    folder: Annotated[Path, typer.Argument(metavar="DIR", file_okay=False, help="Where they go.")],
    clients: Annotated[
        list[str] | None,
        typer.Option(
            "--client", metavar="NAME", help="A client to make a certificate for; repeat it. Default: client."
        ),
    ] = None,
    hosts: Annotated[
        list[str] | None,
        typer.Option(
            "--host",
            metavar="NAME",
            help="A DNS name or IP address at which services are reached, besides those of this machine's loopback "
            "and their own names; repeat it.",
        ),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long they are valid.")] = 90,
    renew: Annotated[
        bool,
        typer.Option(
            "--renew",
            help="New certificates by the authorities that DIR has, for all it has and further clients.",
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite, authorities included.")] = False,
) -> None:
    """Make certificates for TLS: development authorities, the services, and clients.

    `ca.crt` is the authority of the services: clients verify the gateway by it, and services each other.
    `clients-ca.crt` is the authority of the clients: the gateway verifies its callers by it. So a client of the gateway
    cannot call the services behind it. Keys are not encrypted, and readable by their owner only; keep `ca.key` and
    `clients-ca.key` where no service runs. In production, use the authority that you have.

    Needs the extra: pip install 'hemaserve[services]'

    Examples:

        hemaserve certificates tls/

        hemaserve certificates tls/ --client analyzer-1 --client reviewer --host hemaserve.lab.example

        hemaserve certificates tls/ --renew --days 30
    """
    try:
        from hemaserve.certificates import CannotIssue, make_certificates, renew_certificates  # noqa: PLC0415
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "cryptography":
            raise
        err.print("[bold red]error:[/] making certificates needs the package cryptography", highlight=False)
        err.print(r"Install it with: pip install 'hemaserve\[services]'", highlight=False)
        raise typer.Exit(ExitCode.USAGE) from None
    named = tuple(dict.fromkeys(clients or (() if renew else ("client",))))
    _check(named, hosts or (), renew=renew, force=force)
    try:
        if renew:
            made = renew_certificates(folder, clients=named, names=hosts or (), days=days)
        else:
            made = make_certificates(folder, clients=named, names=hosts or (), days=days, force=force)
    except CannotIssue as error:
        err.print(f"[bold red]error:[/] {error}", highlight=False)
        hint = "leave out --renew to make them" if renew else "--renew makes new ones by the same authorities"
        err.print(hint if renew else f"{hint}, --force all anew", highlight=False)
        raise typer.Exit(ExitCode.USAGE) from None
    except OSError as error:
        err.print(f"[bold red]error:[/] cannot write in {folder}: {error.strerror}", highlight=False)
        raise typer.Exit(ExitCode.USAGE) from None
    for path in made:
        out.print(f"{path} and its key", highlight=False, soft_wrap=True)
    if renew:
        out.print("What runs with them takes them up by itself, for new connections.")
    else:
        _tell_next(folder, named[0])


def _check(clients: tuple[str, ...], hosts: list[str] | tuple[()], *, renew: bool, force: bool) -> None:
    reserved = {SERVICES_CA, CLIENTS_CA, STACK, *SERVICES}
    for name in clients:
        if not _NAME.fullmatch(name) or name in reserved:
            raise typer.BadParameter(
                f"{name!r}: letters, digits and hyphens, and none of {', '.join(sorted(reserved))}",
                param_hint="--client",
            )
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise typer.BadParameter(f"{host!r} is neither a DNS name nor an IP address", param_hint="--host")
    if renew and force:
        raise typer.BadParameter("--renew overwrites certificates by itself", param_hint="--force")


def _tell_next(folder: Path, client: str) -> None:
    out.print("\nRun the stack with them:", highlight=False)
    out.print(f"  hemaserve up --tls {folder}", highlight=False, soft_wrap=True)
    out.print("and call it:", highlight=False)
    out.print(
        f"  hemaserve health --tls-ca {folder / 'ca.crt'} --tls-cert {folder / client}.crt "
        f"--tls-key {folder / client}.key",
        highlight=False,
        soft_wrap=True,
    )
    out.print(
        "or set HEMASERVE_TLS_CA, HEMASERVE_TLS_CERT and HEMASERVE_TLS_KEY once for all commands.",
        highlight=False,
        soft_wrap=True,
    )
