"""The real stack with a proxy on every way between two of its processes, and a hand on each process."""

import asyncio
import contextlib
import json
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import grpc
import psutil
from grpc_health.v1 import health_pb2, health_pb2_grpc

from benchmarks.links import Link, bound
from hemaserve.certificates import make_certificates
from hemaserve.client import tls_credentials
from hemaserve.tls_folder import SERVICES_CA
from services.stack.child import probe_channel
from services.stack.plan import Part, Process, plan
from services.stack.profiles import TRITON
from services.stack.settings import StackSettings
from services.stack.stack import Stack

GATEWAY: Final = "gateway"
CLIENTS: Final = "clients"
CLIENT: Final = "client"
CHECK_TIMEOUT_S: Final = 1.0


@dataclass(frozen=True)
class Replica:
    """A part of the stack.

    Attributes:
        name: what it is, e.g. `detector`.
        number: which of its kind, from 1: those of one number are one side of the stack.
        address: where its health answers.
        pid: of its process, when it was last ready.
    """

    name: str
    number: int
    address: str
    pid: int

    @property
    def label(self) -> str:
        """Name and number."""
        return f"{self.name}-{self.number}"


class FaultyStack:
    """A running stack.

    Attributes:
        address: the gateways', for clients, by way of their links.
        links: by the number of the replica that is called.
        credentials: what clients need; None without TLS.
        running: done when the stack has ended, for a signal as it may be.
    """

    def __init__(
        self,
        address: str,
        links: Mapping[int, list[Link]],
        credentials: grpc.ChannelCredentials | None,
        processes: Iterable[Process],
        running: "asyncio.Task[None]",
        ready_file: Path,
    ) -> None:
        self.address = address
        self.links = links
        self.credentials = credentials
        self.running = running
        self._ready_file = ready_file
        self._processes = {part.address: process for process in processes for part in process.parts}
        self._channels: dict[str, grpc.aio.Channel] = {}

    @property
    def state(self) -> dict[str, Any]:
        """What the ready file says."""
        state: dict[str, Any] = json.loads(self._ready_file.read_text())
        return state

    def replicas(self) -> list[Replica]:
        """All parts, as they were when the last of them got ready."""
        return [
            Replica(name, number, one["address"], one["pid"] or 0)
            for name, each in self.state["replicas"].items()
            for number, one in enumerate(each, 1)
        ]

    async def unwell(self) -> list[Replica]:
        """Parts that do not say SERVING, asked past the links."""
        replicas = self.replicas()
        well = await asyncio.gather(*(self._serving(each) for each in replicas))
        return [each for each, one in zip(replicas, well, strict=True) if not one]

    async def close(self) -> None:
        """Close the connections for health."""
        for channel in self._channels.values():
            await channel.close()

    async def _serving(self, replica: Replica) -> bool:
        if not psutil.pid_exists(replica.pid):
            return False
        if replica.address not in self._channels:
            self._channels[replica.address] = probe_channel(self._processes[replica.address])
        check = health_pb2_grpc.HealthStub(self._channels[replica.address]).Check  # type: ignore[attr-defined]
        try:
            answer = await check(health_pb2.HealthCheckRequest(), timeout=CHECK_TIMEOUT_S)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


@asynccontextmanager
async def faulty_stack(settings: StackSettings, say: Callable[[str], None]) -> AsyncIterator[FaultyStack]:
    """Run the stack inside the block. `settings.ready_file` must be set; certificates for `settings.tls` are made.

    Raises:
        NotReady: it did not get ready, or ended by itself.
    """
    assert settings.ready_file is not None
    # Held before the stack's ports are chosen: links that chose afterwards could take one of those.
    sockets = [bound() for _ in range(4 * settings.replicas**2 + settings.replicas)]
    processes = plan(settings)
    links: dict[int, list[Link]] = {}
    async with contextlib.AsyncExitStack() as opened:
        address, led = await _with_links(processes, links, sockets)
        credentials = None if settings.tls is None else _certified(settings.tls)
        for each in links.values():
            for link in each:
                opened.push_async_callback(link.close)
        running = asyncio.create_task(Stack(settings, say, planned=led).run())
        opened.push_async_callback(_stopped, running)
        while not settings.ready_file.exists():
            done, _ = await asyncio.wait({running}, timeout=0.1)
            if done:
                running.result()
                sys.exit("the stack was stopped before it was ready")
        stack = FaultyStack(address, links, credentials, processes, running, settings.ready_file)
        opened.push_async_callback(stack.close)
        yield stack


def _certified(folder: Path) -> grpc.ChannelCredentials:
    """Make certificates, and what a client needs."""
    make_certificates(folder, clients=(CLIENT,), days=2, force=True)
    return tls_credentials(
        ca=folder / f"{SERVICES_CA}.crt", certificate=folder / f"{CLIENT}.crt", key=folder / f"{CLIENT}.key"
    )


async def _stopped(running: "asyncio.Task[None]") -> None:
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def _with_links(
    processes: Sequence[Process], links: dict[int, list[Link]], sockets: list[socket.socket]
) -> tuple[str, list[Process]]:
    """The same processes, told of links in place of each other; and the links' address for clients."""
    parts = {part.address: part for process in processes for part in process.parts}

    async def link(caller: str, address: str) -> str:
        part = parts[address]
        made = Link(f"{caller} > {_label(part)}", address, encrypted=part.tls is not None)
        await made.start(sockets.pop())
        links.setdefault(part.replica, []).append(made)
        return made.address

    led = []
    for process in processes:
        told = dict(process.environment)
        label = ", ".join(map(_label, process.parts))
        for key, value in process.environment.items():
            if key.endswith("_ADDRESS") and all(part in parts for part in value.split(",")):
                told[key] = ",".join([await link(label, part) for part in value.split(",")])
        led.append(replace(process, environment=told))
    gateways = [part.address for part in parts.values() if part.name == GATEWAY]
    return ",".join([await link(CLIENTS, address) for address in gateways]), led


def _label(part: Part) -> str:
    return f"{part.name}-{part.replica}"


def network_processes(triton: Replica) -> tuple[list[psutil.Process], list[psutil.Process]]:
    """Below Triton's keeper: the servers, and the processes that run one network each."""
    assert triton.name == TRITON
    try:
        below = psutil.Process(triton.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return [], []
    servers, networks = [], []
    for process in below:
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            name = process.cmdline()[0]
            if name.endswith("tritonserver"):
                servers.append(process)
            elif "python_backend_stub" in name:
                networks.append(process)
    return servers, networks
