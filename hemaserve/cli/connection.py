"""How commands reach the gateway: what they connect with is the same for all of them, and said in one place."""

import functools
import inspect
import os
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final

import grpc
import typer

from hemaserve.client import Client, tls_credentials
from hemaserve.doctor.reach import TlsPaths

_PANEL: Final = "TLS"
_WHO: Final = "Who calls"
_TLS_OPTIONS: Final = "--tls-ca / --tls-cert / --tls-key"

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
ApiKeyFile = Annotated[
    Path | None,
    typer.Option(
        "--api-key-file",
        envvar="HEMASERVE_API_KEY_FILE",
        metavar="FILE",
        rich_help_panel=_WHO,
        help="The API key to show to the gateway, see `hemaserve keys`. Or the key itself in HEMASERVE_API_KEY.",
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        envvar="HEMASERVE_TOKEN_FILE",
        metavar="FILE",
        rich_help_panel=_WHO,
        help="A JWT in place of a key, read for each call. Or the token itself in HEMASERVE_TOKEN.",
    ),
]
_OPTIONS: Final = {
    "tls_ca": TlsCa,
    "tls_cert": TlsCert,
    "tls_key": TlsKey,
    "api_key_file": ApiKeyFile,
    "token_file": TokenFile,
}

_told: ContextVar[Mapping[str, Any]] = ContextVar("told", default=MappingProxyType({}))
_NO_FILES: Final = TlsPaths()
_files: ContextVar[TlsPaths] = ContextVar("files", default=_NO_FILES)


def connects(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of TLS and of who calls besides its own; its `client` heeds them."""

    @functools.wraps(command)
    def connecting(
        *args: Any,
        tls_ca: Path | None = None,
        tls_cert: Path | None = None,
        tls_key: Path | None = None,
        api_key_file: Path | None = None,
        token_file: Path | None = None,
        **kwargs: Any,
    ) -> None:
        told = {"credentials": _read(tls_ca, tls_cert, tls_key), **_caller(api_key_file, token_file)}
        token = _told.set(told)
        files = _files.set(TlsPaths(tls_ca, tls_cert, tls_key))
        try:
            command(*args, **kwargs)
        finally:
            _files.reset(files)
            _told.reset(token)

    own = inspect.signature(command)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
        for name, annotation in _OPTIONS.items()
    ]
    connecting.__signature__ = own.replace(parameters=[*own.parameters.values(), *added])  # type: ignore[attr-defined]
    connecting.__annotations__ = command.__annotations__ | _OPTIONS
    return connecting


def tls_paths() -> TlsPaths:
    """The files that the command was told to connect with."""
    return _files.get()


def shows_who() -> bool:
    """Whether the command was told what proves who calls."""
    told = _told.get()
    return any(told.get(what) is not None for what in ("api_key", "token")) or _files.get().key is not None


def client(address: str, **settings: Any) -> Client:
    """A client of the gateway at `address`, with what the command was told to connect with."""
    try:
        return Client(address, **_told.get(), **settings)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=_WHO) from None


def _read(ca: Path | None, certificate: Path | None, key: Path | None) -> grpc.ChannelCredentials | None:
    if ca is None and certificate is None and key is None:
        return None
    try:
        return tls_credentials(ca=ca, certificate=certificate, key=key)
    except OSError as error:
        raise typer.BadParameter(
            f"cannot read {error.filename}: {error.strerror}", param_hint=_TLS_OPTIONS
        ) from None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=_TLS_OPTIONS) from None


def _caller(api_key_file: Path | None, token_file: Path | None) -> dict[str, Any]:
    """What proves who calls; a file comes before the environment."""
    if api_key_file is not None or token_file is not None:
        key = None if api_key_file is None else _text(api_key_file)
        if token_file is not None:
            _text(token_file)  # said now, and not in the middle of the work
        return {"api_key": key, "token": None if token_file is None else lambda: _text(token_file)}
    return {
        "api_key": os.environ.get("HEMASERVE_API_KEY") or None,
        "token": os.environ.get("HEMASERVE_TOKEN") or None,
    }


def _text(path: Path) -> str:
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise typer.BadParameter(f"cannot read {path}: {why}", param_hint=_WHO) from None
    if not text or not text.isascii() or len(text.split()) != 1:
        raise typer.BadParameter(f"{path} holds no key or token", param_hint=_WHO)
    return text
