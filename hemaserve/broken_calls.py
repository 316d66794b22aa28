"""Telling a call that broke from one that was refused, where gRPC does not."""

from typing import Final

import grpc
import grpc.aio

DETAILS_KEY: Final = "grpc-status-details-bin"
_NOBODYS: Final = (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN)


def is_broken(error: grpc.aio.AioRpcError) -> bool:
    """Whether a call broke, its real status lost: whether it was refused, only asking again tells.

    Our services say more of each error than its code. Without that, these codes are gRPC's own here: for a write that
    finds its call ended (`Internal error from Core`, seen with 1.85 in about a fifth of refused streams), and for a
    connection on which something came that cannot be read (`Stream removed`).
    """
    details = any(key == DETAILS_KEY for key, _ in error.trailing_metadata() or ())
    return error.code() in _NOBODYS and not details
