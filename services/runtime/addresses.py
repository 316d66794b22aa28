"""How addresses are written in settings."""

import ipaddress
from typing import Annotated

from pydantic import Field

Address = Annotated[str, Field(pattern=r"^\S+:\d{1,5}$", examples=["127.0.0.1:50051"])]


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach `host:port`."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
