"""How addresses are written in settings."""

import ipaddress
from typing import Annotated

from pydantic import AfterValidator, Field

from hemaserve.addresses import replicas

Address = Annotated[str, Field(pattern=r"^\S+:\d{1,5}$", examples=["127.0.0.1:50051"])]
"""Where to listen: `host:port`."""


def _checked(address: str) -> str:
    replicas(address)
    return address


ReplicatedAddress = Annotated[
    str,
    AfterValidator(_checked),
    Field(examples=["127.0.0.1:50052", "10.0.0.1:50052,10.0.0.2:50052", "dns:///detector:50052"]),
]
"""Where another service is, whether it has one replica or several; see `hemaserve.addresses`."""


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach `host:port`."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
