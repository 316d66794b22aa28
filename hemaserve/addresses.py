"""How the address of a service is written, whether it has one replica or several."""

import ipaddress
import re
from typing import Final

ALLOWED: Final = (
    "HOST:PORT; several replicas as IP:PORT,IP:PORT (all IPv4, or all IPv6 in brackets); or dns:///NAME:PORT for all "
    "addresses of a name"
)
"""What an address may look like, for messages."""

_DNS: Final = "dns:///"
_NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9.])?")


class AddressError(ValueError):
    """An address that means nothing; the message names it, what is wrong, and what is allowed."""

    def __init__(self, address: str, wrong: str) -> None:
        super().__init__(f"{address!r}: {wrong}; allowed: {ALLOWED}")


def replicas(address: str) -> tuple[str, ...]:
    """The `host:port` of each replica that an address names itself; a name stands for as many as it has addresses.

    Raises:
        AddressError: it is malformed.
    """
    if of_a_name(address):
        return (_checked(address, address.removeprefix(_DNS)),)
    parts = tuple(part.strip() for part in address.split(","))
    for part in parts:
        _checked(address, part)
    if len(set(parts)) < len(parts):
        raise AddressError(address, "one replica is named twice")
    if len(parts) > 1:
        _family(address, parts)
    return parts


def of_a_name(address: str) -> bool:
    """Whether an address stands for all addresses that a name has, and these may change."""
    return address.startswith(_DNS)


def may_have_replicas(address: str) -> bool:
    """Whether an address can lead to more than one replica."""
    return of_a_name(address) or len(replicas(address)) > 1


def is_ip(host: str) -> bool:
    """Whether what stands before a port is an IP address, one of version 6 in brackets."""
    return _version(host) is not None


def target(address: str) -> str:
    """The gRPC target of an address, see https://github.com/grpc/grpc/blob/master/doc/naming.md.

    Raises:
        AddressError: it is malformed.
    """
    parts = replicas(address)
    if len(parts) == 1:
        return address.strip()
    return f"{_family(address, parts)}:{','.join(parts)}"


def is_loopback(address: str) -> bool:
    """Whether `host:port` is of this machine, and nobody else can listen in."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _checked(address: str, part: str) -> str:
    host, _, port = part.rpartition(":")
    if not host:
        raise AddressError(address, f"{part!r} has no port" if part else "an address is empty")
    if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
        raise AddressError(address, f"{port!r} is no port between 1 and 65535")
    if not _NAME.fullmatch(host) and _version(host) is None:
        raise AddressError(address, f"{host!r} is neither a name nor an IP address")
    return part


def _family(address: str, parts: tuple[str, ...]) -> str:
    """The scheme of a list: `ipv4` or `ipv6`. gRPC resolves no names in lists."""
    versions = {_version(part.rpartition(":")[0]) for part in parts}
    if versions == {4}:
        return "ipv4"
    if versions == {6}:
        return "ipv6"
    raise AddressError(address, "a list is of IP addresses of one version")


def _version(host: str) -> int | None:
    """4 or 6 for an IP address as it stands before a port, None for anything else."""
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        version = ipaddress.ip_address(host[1:-1] if bracketed else host).version
    except ValueError:
        return None
    return version if bracketed == (version == 6) else None
