"""What a caller shows: read from a call's metadata and from its connection. Pure, and cheap for any nonsense."""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from hemaserve.access.keys import PREFIX, key_id_of
from services.gateway.access.refusals import Credential, CredentialKind, Reason, Refused

MAX_CHARS: Final = 8192
"""Longest credentials that are looked at. gRPC itself takes no more metadata than that by default."""

_SCHEME: Final = "bearer"
_HEADERS: Final = ("authorization", "x-api-key")


@dataclass(frozen=True, slots=True)
class ShownKey:
    """An API key, well formed; whether it is good is another matter."""

    key_id: str
    key: str


@dataclass(frozen=True, slots=True)
class ShownToken:
    """Something that may be a JWT."""

    text: str


@dataclass(frozen=True, slots=True)
class ShownCertificate:
    """A client certificate that TLS has verified: its subject alternative names, or else its common name."""

    names: tuple[str, ...]


Shown = ShownKey | ShownToken | ShownCertificate


def shown_by(
    metadata: Iterable[tuple[str, str | bytes]], auth_context: Mapping[str, Iterable[bytes]]
) -> Shown:
    """The one thing that a caller shows. Credentials in the metadata come before the connection's certificate.

    Raises:
        Refused: it shows nothing, two things at once, or something that cannot be credentials.
    """
    values = [(key, value) for key, value in metadata if key in _HEADERS]
    if len(values) > 1:
        raise Refused(Reason.MALFORMED)
    for key, value in values:
        if not isinstance(value, str) or len(value) > MAX_CHARS or not value.isascii():
            raise Refused(Reason.MALFORMED)
        return _of_header(key, value)
    names = _certificate_names(auth_context)
    if not names:
        raise Refused(Reason.MISSING)
    return ShownCertificate(names)


def came_privately(peer: str, auth_context: Mapping[str, Iterable[bytes]]) -> bool:
    """Whether nobody on the way could read the call: it is encrypted, or never left this machine."""
    if b"ssl" in auth_context.get("transport_security_type", ()) or peer.startswith("unix:"):
        return True
    host = unquote(peer.partition(":")[2].rpartition(":")[0]).strip("[]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (mapped or address).is_loopback


def _of_header(key: str, value: str) -> Shown:
    if key == "authorization":
        scheme, _, value = value.partition(" ")
        if scheme.lower() != _SCHEME:
            raise Refused(Reason.MALFORMED)
        value = value.strip(" ")
        if not value.startswith(PREFIX):
            return _token(value)
    key_id = key_id_of(value)
    if key_id is None:
        raise Refused(Reason.MALFORMED, Credential(CredentialKind.API_KEY))
    return ShownKey(key_id, value)


def _token(text: str) -> ShownToken:
    if text.count(".") != 2:
        raise Refused(Reason.MALFORMED, Credential(CredentialKind.TOKEN))
    return ShownToken(text)


def _certificate_names(auth_context: Mapping[str, Iterable[bytes]]) -> tuple[str, ...]:
    # RFC 6125, 6.4.4: the common name counts only where there is no alternative name.
    for property_name in ("x509_subject_alternative_name", "x509_common_name"):
        names = tuple(value.decode(errors="replace") for value in auth_context.get(property_name, ()))
        if names:
            return names
    return ()
