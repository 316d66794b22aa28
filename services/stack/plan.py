"""Which processes make up the stack, where they listen, and what they are told."""

import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from services.stack.settings import StackSettings

LOOPBACK: Final = "127.0.0.1"

_LEAN: Final = MappingProxyType(
    {
        # Triton's instances have the cores; everyone else is a light consumer with few threads.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        # glibc's one arena for each thread costs more memory than it saves time here.
        "MALLOC_ARENA_MAX": "2",
    }
)


@dataclass(frozen=True, slots=True)
class Service:
    """One process of the stack.

    Attributes:
        address: where its gRPC health service answers.
        metrics_address: where its Prometheus endpoint is.
        command: program and arguments.
        environment: what is added to this process's environment.
        stop_timeout_s: how long it may take to end after SIGTERM before it is killed.
    """

    name: str
    address: str
    metrics_address: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    stop_timeout_s: float


def plan(settings: StackSettings) -> list[Service]:
    """The stack's processes, each on addresses of its own."""
    with ExitStack() as held:
        ports = _free_ports(held)
        triton_http, *listen = (next(ports) for _ in range(8))
    triton_grpc, triton_metrics, detector, detector_metrics, classifier, classifier_metrics, metrics = listen
    triton = settings.triton or triton_grpc
    log = {"LOG_FORMAT": "text" if settings.verbose else "json"}
    grace = {"DRAIN_GRACE_S": str(settings.drain_grace_s)}
    stop_timeout_s = settings.drain_grace_s + 10.0
    services = [
        _service(
            "triton",
            triton_grpc,
            triton_metrics,
            log
            | {
                "REPOSITORY": str(settings.model_repository.absolute()),
                "MODELS": ",".join(settings.models),
                "GRPC_PORT": _port(triton_grpc),
                "HTTP_PORT": _port(triton_http),
                "METRICS_PORT": _port(triton_metrics),
                "STOP_TIMEOUT_S": str(max(settings.drain_grace_s, 1.0)),
            },
            stop_timeout_s,
        ),
        _service(
            "detector",
            detector,
            detector_metrics,
            log | grace | {"LISTEN": detector, "METRICS_LISTEN": detector_metrics, "TRITON_ADDRESS": triton},
            stop_timeout_s,
        ),
        _service(
            "classifier",
            classifier,
            classifier_metrics,
            log
            | grace
            | {
                "LISTEN": classifier,
                "METRICS_LISTEN": classifier_metrics,
                "TRITON_ADDRESS": triton,
                "SITE_PROFILES": str(settings.site_profiles.absolute()),
            },
            stop_timeout_s,
        ),
        _service(
            "gateway",
            settings.address,
            metrics,
            log
            | grace
            | {
                "LISTEN": settings.address,
                "METRICS_LISTEN": metrics,
                "DETECTOR_ADDRESS": detector,
                "CLASSIFIER_ADDRESS": classifier,
            },
            stop_timeout_s,
        ),
    ]
    return services if settings.triton is None else services[1:]


def environment(service: Service) -> dict[str, str]:
    """The whole environment of a service's process."""
    return dict(os.environ) | dict(_LEAN) | dict(service.environment)


def _service(
    name: str, address: str, metrics_address: str, settings: Mapping[str, str], stop_timeout_s: float
) -> Service:
    return Service(
        name=name,
        address=address,
        metrics_address=metrics_address,
        command=(sys.executable, "-m", f"services.{name}"),
        environment={f"HEMASERVE_{name.upper()}_{key}": value for key, value in settings.items()},
        stop_timeout_s=stop_timeout_s,
    )


def _free_ports(held: ExitStack) -> Iterator[str]:
    """Addresses of free ports of the loopback, held until `held` closes, so that they differ."""
    while True:
        probe = held.enter_context(socket.socket())
        probe.bind((LOOPBACK, 0))
        yield f"{LOOPBACK}:{probe.getsockname()[1]}"


def _port(address: str) -> str:
    return address.rpartition(":")[2]
