"""Whether Triton still takes requests to infer, which its own health does not tell.

Triton 2.51 can lock itself up for ever. The gRPC thread that starts an ensemble's members holds the request's lock; a
member that fails before the next one is started holds the ensemble's, and each waits for the other's. The next call
that is given up takes the last thread along. Health, readiness, HTTP and metrics go on as if nothing were amiss.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event
from typing import Final

import grpc

_METHOD: Final = "/inference.GRPCInferenceService/ModelInfer"
_OPTIONS: Final = (("grpc.enable_http_proxy", 0),)


def takes_requests(address: str, timeout_s: float) -> bool:
    """Whether Triton answers a request for no network at all, which costs it nothing however busy its networks are.

    Args:
        address: ``host:port`` of its gRPC endpoint, without TLS.
        timeout_s: how long it may take, in seconds.

    Returns:
        False only where it let that time pass: a Triton that is not there is not stuck.
    """
    with grpc.insecure_channel(address, options=_OPTIONS) as channel:
        infer: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_METHOD)
        try:
            infer(b"", timeout=timeout_s)
        except grpc.RpcError as error:
            return bool(error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED)
    return True


def watch(address: str, stuck_after_s: float, stopping: Event, on_stuck: Callable[[], None]) -> None:
    """Asks Triton again and again until ``stopping``; calls ``on_stuck`` when it took nothing for ``stuck_after_s``."""
    pause_s = stuck_after_s / 3
    took = time.monotonic()
    while not stopping.wait(pause_s):
        if takes_requests(address, pause_s):
            took = time.monotonic()
        elif time.monotonic() - took >= stuck_after_s:
            on_stuck()
            took = time.monotonic()
