"""How addresses are written in settings."""

from typing import Annotated

from pydantic import AfterValidator, Field

from hemaserve.addresses import is_loopback, replicas

__all__ = ["Address", "ReplicatedAddress", "is_loopback"]

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
