"""Certificates for development and for laboratories without an authority of their own. Needs `cryptography`.

Two authorities, so that being a client is not enough to call the detector past the gateway: one signs what the services
show, to clients and to each other, the other what clients show to the gateway.
"""

import ipaddress
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hemaserve.tls_folder import CLIENTS_CA, SERVICES, SERVICES_CA, STACK

LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")
CA_DAYS: Final = 3650
_CLOCK_SKEW: Final = timedelta(minutes=5)


class CannotIssue(Exception):
    """The folder does not allow it; the message says why."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_certificates(
    folder: Path, *, clients: Sequence[str], names: Sequence[str] = (), days: int, force: bool = False
) -> list[Path]:
    """Make both authorities, and certificates for the services, the stack and these clients.

    Args:
        folder: made where it does not exist; each certificate is NAME.crt in it, its key NAME.key with mode 0600.
        names: DNS names and IP addresses of the services, besides their own and those of the loopback.
        days: how long all but the authorities are valid.
        force: whether files that are there are overwritten.

    Returns:
        The certificates' files.

    Raises:
        CannotIssue: a file is there already.
    """
    leaves = [*SERVICES, STACK, *clients]
    there = [folder / f"{name}.key" for name in (SERVICES_CA, CLIENTS_CA, *leaves)]
    if not force and (taken := [path.name for path in there if path.exists()]):
        raise CannotIssue(f"{folder} has {', '.join(taken)} already")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, title in ((SERVICES_CA, "HemaServe services"), (CLIENTS_CA, "HemaServe clients")):
        paths.append(_write(folder, name, _authority(title)))
    return [*paths, *renew_certificates(folder, clients=clients, names=names, days=days)]


def renew_certificates(
    folder: Path, *, clients: Sequence[str], names: Sequence[str] = (), days: int
) -> list[Path]:
    """Make new certificates and keys, by the authorities that `folder` has, for all but these.

    Clients that have a certificate there get a new one too, and services keep the names that theirs are for.

    Raises:
        CannotIssue: the authorities are not there, or cannot be read.
    """
    services_ca, clients_ca = _read(folder, SERVICES_CA), _read(folder, CLIENTS_CA)
    pairs = {}
    for service in SERVICES:
        own = (service, *LOOPBACK_NAMES, *_names_of(folder / f"{service}.crt"), *names)
        pairs[service] = _leaf(service, services_ca, days, own, server=True)
    known = {path.stem for path in folder.glob("*.crt")} - {SERVICES_CA, CLIENTS_CA, *SERVICES, STACK}
    for client in (STACK, *sorted(known | set(clients))):
        pairs[client] = _leaf(client, clients_ca, days, (client,), server=False)
    return [_write(folder, name, pair) for name, pair in pairs.items()]


def _authority(title: str) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{title} (development CA)")])
    builder = (
        _builder(name, name, key.public_key(), CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(authority=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    return Pair(builder.sign(key, hashes.SHA256()), key)


def _leaf(name: str, authority: Pair, days: int, names: Iterable[str], *, server: bool) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    # The gateway shows its own certificate to the services that it calls, so a server's is good for both sides.
    usages = [ExtendedKeyUsageOID.SERVER_AUTH] if server else []
    identifier = authority.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _builder(subject, authority.certificate.subject, key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([*usages, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(list(_general_names(names))), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False
        )
    )
    return Pair(builder.sign(authority.key, hashes.SHA256()), key)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_names(names: Iterable[str]) -> Iterator[x509.GeneralName]:
    for name in dict.fromkeys(names):
        try:
            yield x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            yield x509.DNSName(name)


def _names_of(path: Path) -> list[str]:
    """The names that the certificate in this file is for; none where it cannot be read."""
    try:
        extensions = x509.load_pem_x509_certificate(path.read_bytes()).extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return []
    addresses = [str(address) for address in names.get_values_for_type(x509.IPAddress)]
    return [*names.get_values_for_type(x509.DNSName), *addresses]


def _write(folder: Path, name: str, pair: Pair) -> Path:
    key = pair.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificate = folder / f"{name}.crt"
    _replace(folder / f"{name}.key", key, 0o600)
    _replace(certificate, pair.certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return certificate


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Write a file as a whole: who reloads it sees the old one or the new one, and a key is never readable."""
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:  # noqa: PTH123
        file.write(content)
    partial.replace(path)


def _read(folder: Path, name: str) -> Pair:
    try:
        certificate = x509.load_pem_x509_certificate((folder / f"{name}.crt").read_bytes())
        key = serialization.load_pem_private_key((folder / f"{name}.key").read_bytes(), password=None)
    except FileNotFoundError as error:
        raise CannotIssue(f"there is no {Path(error.filename).name} in {folder}") from None
    except (OSError, ValueError, TypeError):
        raise CannotIssue(f"{name}.crt or {name}.key in {folder} cannot be read") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CannotIssue(f"{name}.key in {folder} is not one of ours: not an elliptic curve's")
    return Pair(certificate, key)
