"""The channel to the gateway."""

from typing import Final

import grpc

from hemaserve import balancing
from hemaserve.addresses import target

MAX_MESSAGE_BYTES: Final = 128 * 2**20
"""Field images and results with crops are larger than gRPC's default of 4 MiB; the gateway has a limit of its own."""

_SMEAR_SERVICE: Final = "hemaserve.v1.SmearService"
_REPEATABLE: Final = tuple(
    {"service": _SMEAR_SERVICE, "method": method}
    for method in ("AnalyzeField", "DetectCells", "ExplainCell", "ListModels", "ListSiteProfiles")
)


def open_channel(address: str, credentials: grpc.ChannelCredentials | None = None) -> grpc.aio.Channel:
    """A channel to the gateway, of one replica or several; without credentials it is not encrypted.

    Must be called on the event loop.

    Args:
        address: see `hemaserve.addresses`.
    """
    options = balancing.options(address, repeatable=_REPEATABLE, max_message_bytes=MAX_MESSAGE_BYTES)
    if credentials is None:
        return grpc.aio.insecure_channel(target(address), options=options)
    return grpc.aio.secure_channel(target(address), credentials, options=options)
