"""Calls from one service to another: channels, deadlines, and the other side's errors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

import grpc
import grpc.aio

from hemaserve.errors import DeadlineExceeded
from services.runtime.errors import from_rpc_error
from services.runtime.tls_files import TlsFiles

_ROUND_ROBIN: Final = '{"loadBalancingConfig": [{"round_robin": {}}]}'


def open_channel(
    address: str,
    *,
    max_message_bytes: int = 72 * 2**20,
    tls: TlsFiles | None = None,
    server_name: str = "",
) -> grpc.aio.Channel:
    """A channel to a service of ours: calls are spread over all addresses that the name resolves to.

    Args:
        tls: our certificate and key, and the authorities of the service; None: no TLS.
        server_name: whom the service's certificate must be for, where that is not the host of `address`.

    Raises:
        TlsFileError: the files cannot be used.
    """
    options: list[tuple[str, Any]] = [
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.keepalive_time_ms", 30_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.service_config", _ROUND_ROBIN),
        # A service that comes back should be noticed in seconds, not after gRPC's default of up to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.max_reconnect_backoff_ms", 2_000),
    ]
    if tls is None:
        return grpc.aio.insecure_channel(address, options=options)
    # Only where TLS is used: cryptography takes its share of the memory.
    from services.runtime.renewing import RenewingChannel  # noqa: PLC0415

    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    return RenewingChannel(tls, lambda credentials: grpc.aio.secure_channel(address, credentials, options))


def remaining_s(context: grpc.aio.ServicerContext[Any, Any], default: float) -> float:
    """Seconds until the caller's deadline, or `default` when there is none.

    Raises:
        DeadlineExceeded: it has passed.
    """
    # The type stubs say float, but without a deadline it is None.
    left = cast("float | None", context.time_remaining())
    if left is None:
        return default
    if left <= 0:
        raise DeadlineExceeded("the deadline passed before the work began")
    return left


class Deadline:
    """A moment by which something must be done, on the monotonic clock."""

    def __init__(self, timeout_s: float) -> None:
        self._at = time.monotonic() + timeout_s

    def remaining_s(self) -> float:
        """Seconds left.

        Raises:
            DeadlineExceeded: none are.
        """
        left = self._at - time.monotonic()
        if left <= 0:
            raise DeadlineExceeded("the deadline passed before the work was done")
        return left


@contextmanager
def remote_errors(service: str) -> Iterator[None]:
    """Turns the errors of calls to `service` into domain errors; safe around awaits."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise from_rpc_error(error, service) from error
