"""The channel to the gateway."""

import json
from typing import Any, Final

import grpc

MAX_MESSAGE_BYTES: Final = 128 * 2**20
"""Field images and results with crops are larger than gRPC's default of 4 MiB; the gateway has a limit of its own."""

_SMEAR_SERVICE: Final = "hemaserve.v1.SmearService"
_REPEATABLE: Final = ("AnalyzeField", "DetectCells", "ListModels", "ListSiteProfiles")

_SERVICE_CONFIG: Final = {
    "methodConfig": [
        {
            "name": [{"service": _SMEAR_SERVICE, "method": method} for method in _REPEATABLE],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.2s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    # When most calls fail, retries only add to the trouble.
    "retryThrottling": {"maxTokens": 20, "tokenRatio": 0.2},
}

OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # A proxy for the web is no way to a laboratory's own service.
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 1),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # A peer that vanished without a word is noticed after 30 + 10 s of a call in flight.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A restarted gateway is found again within a second, not after gRPC's default backoff of up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


def open_channel(address: str, credentials: grpc.ChannelCredentials | None = None) -> grpc.aio.Channel:
    """A channel to `host:port`; without credentials it is not encrypted. Must be called on the event loop."""
    if credentials is None:
        return grpc.aio.insecure_channel(address, options=OPTIONS)
    return grpc.aio.secure_channel(address, credentials, options=OPTIONS)
