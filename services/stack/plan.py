"""Which processes make up the stack, where they listen, and what they are told."""

import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from services.stack.profiles import SERVICES, TRITON, Profile
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
class Part:
    """Triton, or one of the services.

    Attributes:
        address: where its gRPC health service answers.
        metrics_address: where its Prometheus endpoint is.
    """

    name: str
    address: str
    metrics_address: str


@dataclass(frozen=True, slots=True)
class Process:
    """One process of the stack.

    Attributes:
        parts: what runs in it, those who call behind those whom they call: the last one is ready when all are.
        command: program and arguments.
        environment: what is added to this process's environment.
        stop_timeout_s: how long it may take to end after SIGTERM before it is killed.
    """

    parts: tuple[Part, ...]
    command: tuple[str, ...]
    environment: Mapping[str, str]
    stop_timeout_s: float

    @property
    def name(self) -> str:
        """What runs in it, in a word."""
        return self.parts[0].name if len(self.parts) == 1 else "services"

    @property
    def address(self) -> str:
        """Where its health is asked for."""
        return self.parts[-1].address


def plan(settings: StackSettings) -> list[Process]:
    """The stack's processes, each part on addresses of its own."""
    profile = settings.makeup
    with ExitStack() as held:
        ports = _free_ports(held)
        http = next(ports)
        parts = {name: Part(name, next(ports), next(ports)) for name in (TRITON, *SERVICES)}
    parts["gateway"] = replace(parts["gateway"], address=settings.address)
    told = _told(settings, profile, parts, http)
    groups = [
        tuple(name for name in group if name != TRITON or settings.triton is None)
        for group in profile.processes
    ]
    return [
        Process(
            parts=tuple(parts[name] for name in group),
            command=(sys.executable, "-m", *_module(group)),
            environment={
                f"HEMASERVE_{name.upper()}_{key}": value
                for name in group
                for key, value in told[name].items()
            },
            # Parts in one process stop one after the other.
            stop_timeout_s=settings.drain_grace_s * len(group) + 10.0,
        )
        for group in groups
        if group
    ]


def _module(group: tuple[str, ...]) -> tuple[str, ...]:
    """The module that runs these parts, and its arguments."""
    return (f"services.{group[0]}",) if len(group) == 1 else ("services.stack.together", *group)


def _told(
    settings: StackSettings, profile: Profile, parts: Mapping[str, Part], triton_http: str
) -> dict[str, dict[str, str]]:
    """The settings of each part, by its name."""
    log = {"LOG_FORMAT": "text" if settings.verbose else "json"}
    triton, detector, classifier, _ = (parts[name] for name in (TRITON, *SERVICES))
    networks = {
        "TRITON_ADDRESS": settings.triton or triton.address,
        "LOAD_ON_REQUEST": str(profile.load_on_request),
        "STACK_PROFILE": profile.name.value,
    }
    own = {
        TRITON: {
            "REPOSITORY": str(settings.model_repository.absolute()),
            "CONFIG_NAME": profile.triton_config,
            "LEAN": str(profile.lean),
            "MODELS": ",".join(profile.models),
            "GRPC_PORT": _port(triton.address),
            "HTTP_PORT": _port(triton_http),
            "METRICS_PORT": _port(triton.metrics_address),
            "STOP_TIMEOUT_S": str(max(settings.drain_grace_s, 1.0)),
        },
        "detector": networks | {"DEFAULT_MODEL": profile.detector},
        "classifier": networks
        | {
            "DEFAULT_MODEL": profile.classifier,
            "DEFAULT_MEMBERS": json.dumps(profile.members),
            "SITE_PROFILES": str(settings.site_profiles.absolute()),
        },
        "gateway": {"DETECTOR_ADDRESS": detector.address, "CLASSIFIER_ADDRESS": classifier.address},
    }
    if profile.in_flight is not None:
        at_once = str(profile.in_flight)
        own["detector"]["BATCHES_IN_FLIGHT"] = own["gateway"]["FIELDS_IN_FLIGHT"] = at_once
        own["gateway"]["FIELDS_AT_ONCE"] = at_once
    for name in SERVICES:
        own[name] |= {
            "LISTEN": parts[name].address,
            "METRICS_LISTEN": parts[name].metrics_address,
            "DRAIN_GRACE_S": str(settings.drain_grace_s),
        }
    return {name: log | its_own for name, its_own in own.items()}


def environment(process: Process) -> dict[str, str]:
    """The whole environment of a process."""
    return dict(os.environ) | dict(_LEAN) | dict(process.environment)


def _free_ports(held: ExitStack) -> Iterator[str]:
    """Addresses of free ports of the loopback, held until `held` closes, so that they differ."""
    while True:
        probe = held.enter_context(socket.socket())
        probe.bind((LOOPBACK, 0))
        yield f"{LOOPBACK}:{probe.getsockname()[1]}"


def _port(address: str) -> str:
    return address.rpartition(":")[2]
