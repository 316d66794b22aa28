"""Calls from one service to another: channels, deadlines, and the other side's errors."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, cast

import grpc
import grpc.aio

from hemaserve import balancing
from hemaserve.addresses import target
from hemaserve.errors import DeadlineExceeded
from services.runtime.errors import from_rpc_error
from services.runtime.tls_files import TlsFiles

_ALL_CALLS: Final[tuple[Mapping[str, str], ...]] = ({},)


def open_channel(
    address: str,
    *,
    max_message_bytes: int = 72 * 2**20,
    repeatable: Iterable[Mapping[str, str]] = _ALL_CALLS,
    tls: TlsFiles | None = None,
    server_name: str = "",
) -> grpc.aio.Channel:
    """A channel to a service of ours, of one replica or several: calls are spread over them, and repeated elsewhere.

    Args:
        address: see `hemaserve.addresses`.
        repeatable: the calls that gRPC may repeat, see `hemaserve.balancing`; by default all, because ours only answer.
        tls: our certificate and key, and the authorities of the service; None: no TLS.
        server_name: whom the service's certificate must be for, where that is not the host of `address`.

    Raises:
        TlsFileError: the files cannot be used.
    """
    options = balancing.options(address, repeatable=repeatable, max_message_bytes=max_message_bytes)
    where = target(address)
    if tls is None:
        return grpc.aio.insecure_channel(where, options=options)
    # Only where TLS is used: cryptography takes its share of the memory.
    from services.runtime.renewing import RenewingChannel  # noqa: PLC0415

    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    return RenewingChannel(tls, lambda credentials: grpc.aio.secure_channel(where, credentials, options))


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

    def left_s(self) -> float:
        """Seconds left; less than 0 when it has passed."""
        return self._at - time.monotonic()

    def remaining_s(self) -> float:
        """Seconds left.

        Raises:
            DeadlineExceeded: none are.
        """
        left = self.left_s()
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
