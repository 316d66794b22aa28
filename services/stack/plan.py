"""Which processes make up the stack, where they listen, and what they are told."""

import json
import os
import random
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from services.runtime.tls_files import TlsFiles
from services.stack.access import access_told
from services.stack.profiles import SERVICES, TRITON, Profile
from services.stack.settings import StackSettings

LOOPBACK: Final = "127.0.0.1"

_OWN_PORTS: Final = range(20_000, 32_768)
"""Linux gives these to no outgoing connection (ip_local_port_range). Others may be taken between the moment at which
they were found free and that at which the part that they are for listens."""

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
        name: which of them.
        address: where its gRPC health service answers.
        metrics_address: where its Prometheus endpoint is.
        replica: its number among those of its name, from 1.
        tls: what its health is asked for with; None without TLS.
    """

    name: str
    address: str
    metrics_address: str
    replica: int = 1
    tls: TlsFiles | None = None

    @property
    def label(self) -> str:
        """What it is called where replicas are told apart."""
        return self.name if self.replica == 1 else f"{self.name}-{self.replica}"


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
        if len(self.parts) == 1:
            return self.parts[0].label
        return replace(self.parts[0], name="services").label

    @property
    def address(self) -> str:
        """Where its health is asked for."""
        return self.parts[-1].address

    @property
    def tls(self) -> TlsFiles | None:
        """What its health is asked for with; None without TLS."""
        return self.parts[-1].tls


def plan(settings: StackSettings) -> list[Process]:
    """The stack's processes, each part on addresses of its own, and told of all replicas of those whom it calls."""
    numbers = range(1, settings.replicas + 1)
    with ExitStack() as held:
        replicas = [_parts(settings, number, _free_ports(held)) for number in numbers]
    known = {name: ",".join(parts[name].address for parts, _ in replicas) for name in (TRITON, *SERVICES)}
    return [process for parts, http in replicas for process in _processes(settings, parts, http, known)]


def _parts(settings: StackSettings, number: int, ports: Iterator[str]) -> tuple[dict[str, Part], str]:
    """One replica of each part, and the address of its Triton's HTTP port."""
    http = next(ports)
    parts = {name: Part(name, next(ports), next(ports), number) for name in (TRITON, *SERVICES)}
    host, _, _ = settings.address.rpartition(":")
    beside = f"{host}:{_port(parts['gateway'].address)}"
    parts["gateway"] = replace(parts["gateway"], address=settings.address if number == 1 else beside)
    if (folder := settings.tls_folder) is not None:
        parts |= {name: replace(parts[name], tls=folder.caller_of(name)) for name in SERVICES}
    return parts, http


def _processes(
    settings: StackSettings, parts: Mapping[str, Part], triton_http: str, known: Mapping[str, str]
) -> Iterator[Process]:
    """The processes of one replica.

    Args:
        known: the addresses of all replicas, by part.
    """
    told = _told(settings, settings.makeup, parts, triton_http, known)
    for whole_group in settings.makeup.processes:
        group = tuple(name for name in whole_group if name != TRITON or settings.triton is None)
        if not group:
            continue
        yield Process(
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


def _module(group: tuple[str, ...]) -> tuple[str, ...]:
    """The module that runs these parts, and its arguments."""
    return (f"services.{group[0]}",) if len(group) == 1 else ("services.stack.together", *group)


def _told(
    settings: StackSettings,
    profile: Profile,
    parts: Mapping[str, Part],
    triton_http: str,
    known: Mapping[str, str],
) -> dict[str, dict[str, str]]:
    """The settings of each part, by its name."""
    log = {"LOG_FORMAT": "text" if settings.verbose else "json"}
    triton = parts[TRITON]
    networks = {
        "TRITON_ADDRESS": settings.triton or known[TRITON],
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
        "gateway": {"DETECTOR_ADDRESS": known["detector"], "CLASSIFIER_ADDRESS": known["classifier"]},
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
        own[name] |= _tls(settings, name)
    own["gateway"] |= access_told(settings)
    if settings.rollout is not None:
        own["gateway"]["ROLLOUT"] = str(settings.rollout.absolute())
    return {name: log | its_own for name, its_own in own.items()}


def _tls(settings: StackSettings, name: str) -> dict[str, str]:
    folder = settings.tls_folder
    if folder is None:
        return {"ALLOW_INSECURE": str(settings.allow_insecure)} if name == "gateway" else {}
    files = folder.server(name)
    told = {"TLS_CERTIFICATE": str(files.certificate), "TLS_KEY": str(files.key)}
    if name != "gateway":
        return told | {"TLS_CLIENT_CA": str(files.ca)}
    if settings.client_certificates:
        told["TLS_CLIENT_CA"] = str(files.ca)
    return told | {"TLS_CA": str(folder.caller_of("detector").ca)}


def environment(process: Process) -> dict[str, str]:
    """The whole environment of a process."""
    return dict(os.environ) | dict(_LEAN) | dict(process.environment)


def _free_ports(held: ExitStack) -> Iterator[str]:
    """Addresses of free ports of the loopback, held until `held` closes, so that they differ."""
    for port in random.sample(_OWN_PORTS, len(_OWN_PORTS)):
        with ExitStack() as trying:
            probe = trying.enter_context(socket.socket())
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            held.enter_context(trying.pop_all())
        yield f"{LOOPBACK}:{port}"


def _port(address: str) -> str:
    return address.rpartition(":")[2]
