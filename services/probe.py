"""`python -m services.probe NAME`: whether the service of this container answers, for those who can only run a command.

Asks the gRPC health of what listens here, by the settings that the service itself was given in the environment: status
0 it is serving, 1 it is not. A service that serves with TLS is asked on its `health_listen`.
"""

import importlib
import sys
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.runtime.settings import ServiceSettings

NAMES: Final = ("gateway", "detector", "classifier", "triton")
TIMEOUT_S: Final = 3.0
_OPTIONS: Final = (("grpc.enable_http_proxy", 0),)
_REACHED_BY: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - where to ask, not where to listen


def main(arguments: list[str] | None = None) -> None:
    """Ask, and exit with the answer."""
    words = sys.argv[1:] if arguments is None else arguments
    if len(words) != 1 or words[0] not in NAMES:
        sys.stderr.write(f"usage: python -m services.probe {'|'.join(NAMES)}\n")
        sys.exit(2)
    try:
        answer = ask(words[0])
    except grpc.RpcError as error:
        answer = error.code().name
    except ValueError as error:
        answer = str(error)
    sys.stdout.write(f"{words[0]}: {answer}\n")
    sys.exit(answer != "SERVING")


def ask(name: str) -> str:
    """What the service's health says, in gRPC's words.

    Raises:
        grpc.RpcError: it does not answer.
        ValueError: its settings are wrong, or name no address where health is told without TLS.
    """
    with grpc.insecure_channel(_address(name), options=_OPTIONS) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # set by its __init__
        response = check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)


def _address(name: str) -> str:
    # Only what this service's image has.
    module = importlib.import_module(f"services.{name}.settings")
    settings = getattr(module, f"{name.title()}Settings")()
    if not isinstance(settings, ServiceSettings):
        return f"127.0.0.1:{settings.grpc_port}"
    if settings.health_listen is None and settings.tls is not None:
        raise ValueError("health_listen is not set, and what listens here asks for TLS")
    host, _, port = (settings.health_listen or settings.listen).rpartition(":")
    return f"{_REACHED_BY.get(host, host)}:{port}"


if __name__ == "__main__":
    main()
