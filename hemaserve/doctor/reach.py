"""The way to a gateway: its name, its port, its certificate. Blocking: call it in a thread."""

import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from hemaserve.doctor.findings import Check, Finding, note, skipped, well, wrong

TIMEOUT_S: Final = 3.0
SOON_DAYS: Final = 14
"""Certificates that end within so many days are told of: a third of their renewal's time, with 90 days."""

UNENCRYPTED: Final = "not encrypted"
"""A finding that bars nothing."""

_HELLO: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""How an HTTP/2 connection begins (RFC 9113): the preface, and an empty SETTINGS frame."""

# Codes of X509_verify_cert_error_string(3).
_EXPIRED, _NOT_YET = (10,), (9,)
_UNKNOWN_AUTHORITY: Final = (2, 18, 19, 20, 21, 27)
_WRONG_NAME: Final = (62, 64)
_MAKE: Final = "hemaserve certificates DIR --renew"


@dataclass(frozen=True, slots=True)
class TlsPaths:
    """Files to connect with: the authorities of the gateway, and our certificate and its key."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __bool__(self) -> bool:
        return self.ca is not None or self.certificate is not None


def look_up(host: str, port: int) -> Finding:
    """Whether the name leads to an address."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return wrong(
            Check.NAME,
            f"{host} leads to no address: {_said(error)}",
            "Clients cannot find the gateway.",
            "Check the name for typing errors, then its record in the DNS.",
        )
    addresses = sorted({str(entry[4][0]) for entry in found})
    return well(Check.NAME, f"{host} is {', '.join(addresses)}")


def connect(host: str, port: int) -> Finding:
    """Whether somebody answers at the port."""
    try:
        with socket.create_connection((host, port), TIMEOUT_S):
            return well(Check.REACH, f"{host}:{port} accepts connections")
    except OSError as error:
        return wrong(
            Check.REACH,
            f"nobody answers at {host}:{port}: {_said(error)}",
            "Clients cannot call the gateway.",
            "See whether the gateway runs and listens there (hemaserve up --address HOST:PORT), then for a firewall or "
            "a network policy in between.",
        )


def examine_tls(host: str, port: int, files: TlsPaths, *, is_loopback: bool) -> Iterator[Finding]:
    """How the connection is encrypted, and whether the certificates fit."""
    if not files:
        yield _unencrypted(host, port, is_loopback=is_loopback)
        return
    context = ssl.create_default_context(cafile=files.ca)
    context.set_alpn_protocols(["h2"])
    if files.certificate is not None:
        context.load_cert_chain(files.certificate, files.key)
    try:
        with (
            socket.create_connection((host, port), TIMEOUT_S) as raw,
            context.wrap_socket(raw, server_hostname=host) as connection,
        ):
            ends = ssl.cert_time_to_seconds(str((connection.getpeercert() or {})["notAfter"]))
            yield _ends(ends)
            # In TLS 1.3 the other side says only now whether it takes our certificate.
            connection.sendall(_HELLO)
            if not connection.recv(1):
                raise ConnectionResetError("it closed the connection")
    except ssl.SSLCertVerificationError as error:
        yield _unverified(host, error)
    except OSError as error:
        yield _refused(error, shown=files.certificate is not None)


def _unencrypted(host: str, port: int, *, is_loopback: bool) -> Finding:
    if _speaks_tls(host, port):
        return wrong(
            Check.TLS,
            "the gateway speaks TLS, and this command does not",
            "Without TLS on both sides there is no connection.",
            "Give --tls-ca, and --tls-cert and --tls-key where the gateway asks who calls.",
        )
    if is_loopback:
        return well(Check.TLS, "not encrypted, on this machine's loopback")
    return wrong(
        Check.TLS,
        UNENCRYPTED,
        "Whoever is on the way sees photographs and keys, and can change results.",
        "Make certificates with: hemaserve certificates DIR, and serve with --tls DIR; or see that a mesh encrypts.",
    )


def _speaks_tls(host: str, port: int) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # only whether, not to whom
    context.set_alpn_protocols(["h2"])
    try:
        with (
            socket.create_connection((host, port), TIMEOUT_S) as raw,
            context.wrap_socket(raw, server_hostname=host),
        ):
            return True
    except OSError:
        return False


def _ends(ends: float) -> Finding:
    when = datetime.fromtimestamp(ends, UTC)
    days = (ends - time.time()) / 86_400
    if days < SOON_DAYS:
        return note(
            Check.TLS,
            f"the gateway's certificate ends in {days:.1f} days, on {when:%Y-%m-%d %H:%M} UTC",
            "From then on no client will connect.",
            f"Renew it, e.g. with: {_MAKE}; services take new files without a restart.",
        )
    return well(Check.TLS, f"encrypted; the certificate fits, and ends on {when:%Y-%m-%d}")


def _unverified(host: str, error: ssl.SSLCertVerificationError) -> Finding:
    code, why = error.verify_code, "No client that verifies the gateway, as all should, will connect."
    if code in _EXPIRED:
        return wrong(Check.TLS, "the gateway's certificate has expired", why, f"Renew it, e.g. with: {_MAKE}")
    if code in _NOT_YET:
        return wrong(
            Check.TLS,
            "the gateway's certificate is not valid yet",
            why,
            "Compare the clocks of this machine, of the gateway's and of the one that made the certificate.",
        )
    if code in _WRONG_NAME:
        return wrong(
            Check.TLS,
            f"the gateway's certificate is not for {host}",
            why,
            f"Call the gateway by a name that is in it, or make one that names this: {_MAKE} --host {host}",
        )
    if code in _UNKNOWN_AUTHORITY:
        return wrong(
            Check.TLS,
            "the gateway's certificate is not by an authority in --tls-ca",
            why,
            "Give the authority of the services (ca.crt, not clients-ca.crt); where it was made anew, fetch it again. "
            "If neither is so, somebody else answers in the gateway's place.",
        )
    return wrong(
        Check.TLS,
        f"the gateway's certificate cannot be verified: {error.verify_message}",
        why,
        f"Renew: {_MAKE}",
    )


def _refused(error: OSError, *, shown: bool) -> Finding:
    said = _said(error)
    if shown:
        return wrong(
            Check.TLS,
            f"the gateway does not take the certificate of --tls-cert: {said}",
            "It lets nobody in whom it does not know.",
            "Show one by the authority of the clients (clients-ca.crt) that has not expired: "
            "hemaserve certificates DIR --renew --client NAME",
        )
    return wrong(
        Check.TLS,
        f"the connection could not be encrypted: {said}",
        "Without it there is no connection.",
        "If the gateway asks who calls, give --tls-cert and --tls-key; else see whether it speaks TLS at all.",
    )


def examine_closed(where: str) -> Finding:
    """Whether a port that nobody should reach from here, such as Triton's, is closed."""
    host, _, port = where.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_S):
            return wrong(
                Check.CLOSED,
                f"{where} can be reached from here",
                "Triton asks nobody who calls: whoever reaches it can use, stop or replace networks, past keys, quotas "
                "and the audit log.",
                "Bind it to the loopback, or close it by a firewall or a network policy.",
            )
    except socket.gaierror as error:
        return skipped(Check.CLOSED, f"{where}: the name leads nowhere: {_said(error)}")
    except OSError:
        return well(Check.CLOSED, f"{where} cannot be reached from here")


def _said(error: OSError) -> str:
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return error.strerror or str(error) or "no answer"
