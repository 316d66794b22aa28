"""Certificates and keys from files that are replaced while they are used. Needs `cryptography`: imported late."""

import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc
import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from services.runtime.tls_files import TlsFiles

if TYPE_CHECKING:
    from services.runtime.metrics import TlsMetrics

_log = structlog.get_logger(__name__)


class TlsFileError(OSError):
    """A file of TLS cannot be used; the message names it and says why, and shows nothing of what is in it."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate, with what it is chained by, and its key, PEM; and when it ends."""

    certificate: bytes
    key: bytes
    expires: datetime


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """What the files hold, found fit for use.

    Attributes:
        own: what we show; None where we show nothing.
        ca: the authorities that the other side's certificate is verified by, PEM; None where it shows none.
    """

    own: Identity | None
    ca: bytes | None


def load(files: TlsFiles) -> TlsMaterial:
    """Read and check the files.

    Raises:
        TlsFileError: one cannot be read, is not PEM, does not fit its other half, or is not valid at this time.
    """
    ca = None if files.ca is None else _read(files.ca)
    if files.ca is not None and ca is not None:
        _certificates(files.ca, ca)
    if files.certificate is None or files.key is None:
        return TlsMaterial(None, ca)
    certificate, key = _read(files.certificate), _read(files.key)
    own = _certificates(files.certificate, certificate)[0]
    if _public(files.key, key) != _spki(own):
        raise TlsFileError(f"the key in {files.key} is not the one of the certificate in {files.certificate}")
    now = datetime.now(UTC)
    if now > own.not_valid_after_utc:
        raise TlsFileError(f"the certificate in {files.certificate} expired on {own.not_valid_after_utc}")
    if now < own.not_valid_before_utc:
        raise TlsFileError(
            f"the certificate in {files.certificate} is not valid before {own.not_valid_before_utc}"
        )
    return TlsMaterial(Identity(certificate, key, own.not_valid_after_utc), ca)


class WatchedTls:
    """What is in the files, and again once they have changed. What cannot be used is logged, and the old kept.

    Args:
        metrics: told when our certificate ends, and of every failure.

    Raises:
        TlsFileError: the files cannot be used at the start.
    """

    def __init__(self, files: TlsFiles, metrics: "TlsMetrics | None" = None) -> None:
        self._files = files
        self._metrics = metrics
        # gRPC asks from threads of its own, for several new connections at a time.
        self._lock = threading.Lock()
        self._seen = self._told = self._look()
        self._current = load(files)
        self._tell_expiry()

    @property
    def current(self) -> TlsMaterial:
        """What is in use."""
        return self._current

    def refresh(self) -> bool:
        """Look whether the files have changed; True once for each change that can be used."""
        with self._lock:
            # Before they are read: what changes in between is seen the next time.
            seen = self._look()
            if seen == self._seen:
                return False
            try:
                new = load(self._files)
            except TlsFileError as error:
                # Tried again the next time, for time alone may make them fit, and told of once.
                if seen != self._told:
                    self._told = seen
                    self._tell_failure(error)
                return False
            self._seen = self._told = seen
            if new == self._current:
                return False
            self._current = new
            self._tell_expiry()
        _log.info("tls files reloaded", expires=None if new.own is None else str(new.own.expires))
        return True

    def _tell_failure(self, error: TlsFileError) -> None:
        _log.error("tls files cannot be used, the old ones stay", why=str(error))
        if self._metrics is not None:
            self._metrics.reload_failures.inc()

    def _tell_expiry(self) -> None:
        if self._metrics is not None and self._current.own is not None:
            self._metrics.expiry.set(self._current.own.expires.timestamp())

    def _look(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_signature(path) for path in (self._files.certificate, self._files.key, self._files.ca))


def server_credentials(watched: WatchedTls) -> grpc.ServerCredentials:
    """Credentials of a server that shows what is in the files now to each new connection; old ones stay as they are.

    Where there is a CA, a client must show a certificate by it; gRPC's Python API has nothing between that and not
    asking for one.
    """
    # gRPC asks from a thread that has none of the context that logs take their service's name from.
    context = structlog.contextvars.get_contextvars()

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        with structlog.contextvars.bound_contextvars(**context):
            return _configuration(watched.current) if watched.refresh() else None

    return grpc.dynamic_ssl_server_credentials(
        _configuration(watched.current),
        fetch,  # type: ignore[arg-type]  # the stubs do not know that None means no change
        require_client_authentication=watched.current.ca is not None,
    )


def channel_credentials(material: TlsMaterial) -> grpc.ChannelCredentials:
    """Credentials of a client."""
    if material.own is None:
        return grpc.ssl_channel_credentials(material.ca)
    return grpc.ssl_channel_credentials(material.ca, material.own.key, material.own.certificate)


def _configuration(material: TlsMaterial) -> grpc.ServerCertificateConfiguration:
    own = [] if material.own is None else [(material.own.key, material.own.certificate)]
    return grpc.ssl_server_certificate_configuration(own, material.ca)


def _signature(path: Path | None) -> tuple[int, int, int] | None:
    try:
        found = None if path is None else path.stat()
    except OSError:
        return None
    return None if found is None else (found.st_ino, found.st_mtime_ns, found.st_size)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TlsFileError(f"cannot read {path}: {error.strerror}") from None


def _certificates(path: Path, content: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(content)
    except ValueError:
        raise TlsFileError(f"{path} holds no certificate in PEM") from None


_SPKI: Final = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _spki(certificate: x509.Certificate) -> bytes:
    return certificate.public_key().public_bytes(*_SPKI)


def _public(path: Path, content: bytes) -> bytes:
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except TypeError:
        raise TlsFileError(f"the key in {path} is encrypted; an unencrypted one is needed") from None
    except (ValueError, UnsupportedAlgorithm):
        raise TlsFileError(f"{path} holds no private key in PEM") from None
    return key.public_key().public_bytes(*_SPKI)
