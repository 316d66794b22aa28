"""What gRPC is to do with a service of several replicas: spread calls, avoid the sick, repeat what broke.

All of it is gRPC's own, as its service config says it: https://github.com/grpc/grpc/blob/master/doc/service_config.md
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from hemaserve.addresses import replicas

KEEPALIVE_TIME_S: Final = 10.0
"""A connection on which a call waits this long without hearing anything is asked whether its other side is alive."""

KEEPALIVE_TIMEOUT_S: Final = 5.0
"""Without an answer for this long the connection is dead: its calls break, and new ones go elsewhere."""

_POLICY: Final = {
    "outlier_detection_experimental": {
        "interval": "2s",
        "baseEjectionTime": "5s",
        "maxEjectionTime": "30s",
        # Never the last one: with two replicas one may be ejected, and one alone never is.
        "maxEjectionPercent": 50,
        # gRPC counts every call that fails, also one that was refused for what its caller sent. Hence the high
        # threshold: a replica is sick when nearly nothing succeeds there.
        "failurePercentageEjection": {
            "threshold": 85,
            "enforcementPercentage": 100,
            "minimumHosts": 2,
            "requestVolume": 3,
        },
        "childPolicy": [{"round_robin": {}}],
    }
}
_RETRY: Final = {
    "maxAttempts": 4,
    "initialBackoff": "0.1s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
}
# When most calls fail, retries only add to the trouble: below half of the tokens there are none. With one of two
# replicas sick each failure stands beside two successes, its repetition's among them: that alone must not use it up.
_BUDGET: Final = {"maxTokens": 20, "tokenRatio": 0.6}


def options(
    address: str,
    *,
    repeatable: Iterable[Mapping[str, str]],
    max_message_bytes: int,
    retry_on: Sequence[str] = ("UNAVAILABLE",),
) -> list[tuple[str, Any]]:
    """The options of a channel to a service, whether it has one replica or several.

    Args:
        address: where it is, see `hemaserve.addresses`.
        repeatable: names of the calls that gRPC repeats when they find no replica or break before anything of their
            answer came: `{"service": ..., "method": ...}`, or without a method for all of a service, or empty for all.
        max_message_bytes: largest message either way; -1 for no limit.
        retry_on: the codes with which such a call is repeated.
    """
    config: dict[str, Any] = {"loadBalancingConfig": [_POLICY], "retryThrottling": _BUDGET}
    if names := [dict(name) for name in repeatable]:
        config["methodConfig"] = [
            {"name": names, "retryPolicy": _RETRY | {"retryableStatusCodes": list(retry_on)}}
        ]
    options: list[tuple[str, Any]] = [
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_receive_message_length", max_message_bytes),
        # A proxy for the web is no way to a laboratory's own service.
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 1),
        # What is to be sent again is kept; without room for a field's image gRPC would not repeat its call.
        ("grpc.per_rpc_retry_buffer_size", max_message_bytes if max_message_bytes > 0 else 2**30),
        ("grpc.service_config", json.dumps(config)),
        # Only ours: a name's TXT record shall not change it.
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.keepalive_time_ms", round(1000 * KEEPALIVE_TIME_S)),
        ("grpc.keepalive_timeout_ms", round(1000 * KEEPALIVE_TIMEOUT_S)),
        # gRPC also pings to learn the bandwidth, and asks nothing else while such a ping is on its way.
        ("grpc.http2.ping_timeout_ms", round(1000 * KEEPALIVE_TIMEOUT_S)),
        ("grpc.http2.max_pings_without_data", 0),
        # A replica that comes back is found within a second, not after gRPC's default of up to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1000),
        ("grpc.max_reconnect_backoff_ms", 1000),
        ("grpc.dns_min_time_between_resolutions_ms", 2000),
    ]
    several = replicas(address)
    if len(several) > 1:
        # Of a list gRPC would make one long name of the server.
        options.append(("grpc.default_authority", several[0]))
    return options
