"""Faults: what is done to a running stack, and to which part of it."""

import asyncio
import os
import random
import signal
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

from benchmarks.faulty_stack import FaultyStack, Replica, network_processes
from benchmarks.links import Link
from services.stack.profiles import TRITON

STOPPED_S: Final = (1.0, 8.0)
SLOW_S: Final = (3.0, 12.0)
DELAY_S: Final = (0.05, 1.0)
CUT_S: Final = (0.0, 5.0)
"""How long faults last, and how much a slow network holds up each piece of a reply: from, to."""


class Target:
    """One side of a stack: the replicas of one number that are well, and the ways that lead to them."""

    def __init__(self, stack: FaultyStack, side: int, well: list[Replica], chance: random.Random) -> None:
        self._stack = stack
        self._side = side
        self._well = well
        self._chance = chance

    def between(self, limits: tuple[float, float]) -> float:
        """A random number."""
        return self._chance.uniform(*limits)

    def replica(self, *names: str) -> Replica:
        """A random part, of some names or of all."""
        return self._chance.choice([one for one in self._well if not names or one.name in names])

    def process(self) -> tuple[str, int]:
        """A random process of what does the work: of a service, a Triton server, or one that runs one network."""
        replica = self.replica()
        if replica.name != TRITON:
            return replica.label, replica.pid
        servers, networks = network_processes(replica)
        process = self._chance.choice([*servers, *([self._chance.choice(networks)] if networks else [])])
        return f"{replica.label} {'server' if process in servers else 'network'}", process.pid

    def link(self) -> Link:
        """A random way to a part of this side."""
        return self._chance.choice(self._stack.links[self._side])


Began = Callable[[str], None]
"""To be told what is hit at the moment when it is."""

Strike = Callable[[Target, Began], Awaitable[None]]
"""Does it; returns when it is over and what comes is recovery. Raises LookupError when there is nothing to hit."""


async def kill(target: Target, began: Began) -> None:
    """SIGKILL for a process that does work."""
    name, pid = target.process()
    os.kill(pid, signal.SIGKILL)
    began(name)


async def stop(target: Target, began: Began) -> None:
    """SIGSTOP for some seconds: it holds its connections and says nothing."""
    name, pid = target.process()
    os.kill(pid, signal.SIGSTOP)
    began(name)
    try:
        await asyncio.sleep(target.between(STOPPED_S))
    finally:
        os.kill(pid, signal.SIGCONT)


async def restart(target: Target, began: Began) -> None:
    """SIGTERM for a service: it drains and ends, and is started again."""
    replica = target.replica("gateway", "detector", "classifier")
    os.kill(replica.pid, signal.SIGTERM)
    began(replica.label)


async def restart_triton(target: Target, began: Began) -> None:
    """SIGTERM for a Triton."""
    replica = target.replica(TRITON)
    os.kill(replica.pid, signal.SIGTERM)
    began(replica.label)


async def slow(target: Target, began: Began) -> None:
    """Replies on one way come late, piece by piece."""
    link = target.link()
    link.delay_s = target.between(DELAY_S)
    began(link.name)
    await asyncio.sleep(target.between(SLOW_S))
    link.delay_s = 0.0


async def cut(target: Target, began: Began) -> None:
    """All connections of one way are reset, and new ones for some seconds."""
    link = target.link()
    seconds = target.between(CUT_S)
    link.cut(seconds)
    began(link.name)
    await asyncio.sleep(seconds)


async def corrupt(target: Target, began: Began) -> None:
    """The next reply on each connection of one way cannot be read."""
    link = target.link()
    link.garble()
    began(link.name)


KINDS: Final[Mapping[str, Strike]] = MappingProxyType(
    {
        "kill": kill,
        "stop": stop,
        "restart of a service": restart,
        "restart of Triton": restart_triton,
        "slow network": slow,
        "cut connection": cut,
        "corrupt reply": corrupt,
    }
)
"""All kinds, by what they are called."""
