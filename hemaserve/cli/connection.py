"""How commands reach the gateway: what they connect with is the same for all of them, and said in one place."""

import functools
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Final

import grpc
import typer

from hemaserve.client import Client, tls_credentials

_PANEL: Final = "TLS"

TlsCa = Annotated[
    Path | None,
    typer.Option(
        "--tls-ca",
        envvar="HEMASERVE_TLS_CA",
        metavar="FILE",
        rich_help_panel=_PANEL,
        help="Connect with TLS, and verify the gateway by these authorities. See `hemaserve certificates`.",
    ),
]
TlsCert = Annotated[
    Path | None,
    typer.Option(
        "--tls-cert",
        envvar="HEMASERVE_TLS_CERT",
        metavar="FILE",
        rich_help_panel=_PANEL,
        help="The certificate to show to the gateway, where it asks for one.",
    ),
]
TlsKey = Annotated[
    Path | None,
    typer.Option(
        "--tls-key",
        envvar="HEMASERVE_TLS_KEY",
        metavar="FILE",
        rich_help_panel=_PANEL,
        help="The certificate's key.",
    ),
]
_OPTIONS: Final = {"tls_ca": TlsCa, "tls_cert": TlsCert, "tls_key": TlsKey}

_credentials: ContextVar[grpc.ChannelCredentials | None] = ContextVar("credentials", default=None)


def connects(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of TLS besides its own; its `client` heeds them."""

    @functools.wraps(command)
    def connecting(
        *args: Any,
        tls_ca: Path | None = None,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
        **kwargs: Any,
    ) -> None:
        token = _credentials.set(_read(tls_ca, tls_cert, tls_key))
        try:
            command(*args, **kwargs)
        finally:
            _credentials.reset(token)

    own = inspect.signature(command)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _OPTIONS.items()
    ]
    connecting.__signature__ = own.replace(parameters=[*own.parameters.values(), *added])  # type: ignore[attr-defined]
    connecting.__annotations__ = command.__annotations__ | _OPTIONS
    return connecting


def client(address: str, **settings: Any) -> Client:
    """A client of the gateway at `address`, with what the command was told to connect with."""
    return Client(address, credentials=_credentials.get(), **settings)


def _read(ca: Path | None, certificate: Path | None, key: Path | None) -> grpc.ChannelCredentials | None:
    if ca is None and certificate is None and key is None:
        return None
    try:
        return tls_credentials(ca=ca, certificate=certificate, key=key)
    except OSError as error:
        raise typer.BadParameter(
            f"cannot read {error.filename}: {error.strerror}", param_hint=_hint()
        ) from None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=_hint()) from None


def _hint() -> str:
    return "--tls-ca / --tls-cert / --tls-key"
