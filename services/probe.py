"""`python -m services.probe NAME`: whether the service of this container answers, for those who can only run a command.

Asks the gRPC health of what listens here, by the settings that the service itself was given in the environment: status
0 it is serving, 1 it is not. With TLS it trusts the service's own certificate alone, and shows it; where the service
verifies its callers by an authority that this one is not of, HEMASERVE_PROBE_CERTIFICATE and HEMASERVE_PROBE_KEY name
another.
"""

import importlib
import os
import sys
from pathlib import Path
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.runtime.settings import ServiceSettings
from services.runtime.tls_files import TlsFiles

NAMES: Final = ("gateway", "detector", "classifier", "triton")
TIMEOUT_S: Final = 3.0
_OPTIONS: Final = (("grpc.enable_http_proxy", 0),)


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
    except (OSError, ValueError) as error:
        answer = str(error)
    sys.stdout.write(f"{words[0]}: {answer}\n")
    sys.exit(answer != "SERVING")


def ask(name: str) -> str:
    """What the service's health says, in gRPC's words.

    Raises:
        grpc.RpcError: it does not answer.
        OSError: its certificate cannot be used.
        ValueError: its settings are wrong.
    """
    with _channel(name) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[attr-defined]  # set by its __init__
        response = check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
    return health_pb2.HealthCheckResponse.ServingStatus.Name(response.status)


def _channel(name: str) -> grpc.Channel:
    # Only what this service's image has.
    module = importlib.import_module(f"services.{name}.settings")
    settings = getattr(module, f"{name.title()}Settings")()
    if not isinstance(settings, ServiceSettings):
        return grpc.insecure_channel(f"127.0.0.1:{settings.grpc_port}", options=_OPTIONS)
    host, _, port = settings.listen.rpartition(":")
    address = f"{_REACHED_BY.get(host, host)}:{port}"
    if settings.tls_certificate is None or settings.tls_key is None:
        return grpc.insecure_channel(address, options=_OPTIONS)
    return _secure_channel(address, settings.tls_certificate, settings.tls_key)


_REACHED_BY: Final = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - where to ask, not where to listen


def _secure_channel(address: str, certificate: Path, key: Path) -> grpc.Channel:
    # Only where TLS is used: cryptography takes its share of the time.
    from services.runtime.tls import channel_credentials, first_name, load  # noqa: PLC0415

    shown = TlsFiles(
        certificate=Path(os.environ.get("HEMASERVE_PROBE_CERTIFICATE", certificate)),
        key=Path(os.environ.get("HEMASERVE_PROBE_KEY", key)),
        ca=certificate,
    )
    credentials = channel_credentials(load(shown))
    # Where it listens is seldom what its certificate is for.
    options = (*_OPTIONS, ("grpc.ssl_target_name_override", first_name(certificate)))
    return grpc.secure_channel(address, credentials, options=options)


if __name__ == "__main__":
    main()
