"""Whom the running task works for, and how urgently: told to every service on the way, and read by schedulers."""

from __future__ import annotations

import urllib.parse
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

import grpc.aio

from hemaserve.metadata import PRIORITY_KEY
from hemaserve.results import Priority
from services.runtime.principal import ANONYMOUS, current_principal

CLIENT_KEY: Final = "x-hemaserve-client"
"""gRPC metadata key that tells who is served, for fair shares; percent-encoded, because names may be any text."""

MAX_CLIENT_CHARS: Final = 128
"""Longest name of a client; longer ones are cut, so that nobody fills a scheduler's memory with names."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a piece of work is for.

    Attributes:
        client: who shares with others; not a secret and not a person.
        priority: how urgent it is.
    """

    client: str
    priority: Priority


NOBODY: Final = Caller("", Priority.ROUTINE)
"""Whom work is for that no call asked for."""

current_caller: Final[ContextVar[Caller]] = ContextVar("current_caller", default=NOBODY)
"""Whom the running task works for. Tasks that it begins inherit it."""


def enter_at_door(context: grpc.aio.ServicerContext[Any, Any], priority: Priority) -> None:
    """Note, at the gateway, whom this task works for: a client that was told apart, else the machine that calls.

    What a client's own metadata say of it is not believed.
    """
    principal = current_principal.get()
    name = _host(context.peer() or "") if principal == ANONYMOUS else principal.name
    current_caller.set(Caller(name[:MAX_CLIENT_CHARS], priority))


def enter_behind_door(context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """Note, in a service behind the gateway, whom the gateway says that this task works for.

    Without metadata of ours, or with such that make no sense, it is routine work for the machine that calls.
    """
    current_caller.set(read_metadata(context.invocation_metadata() or (), peer=context.peer() or ""))


def read_metadata(metadata: Iterable[tuple[str, str | bytes]], *, peer: str) -> Caller:
    """The caller that a call's metadata name.

    Args:
        peer: the other side as gRPC writes it, e.g. `ipv4:10.0.0.7:41234`.
    """
    said = _texts(metadata)
    priority = _priority(said) or Priority.ROUTINE
    client = urllib.parse.unquote(said.get(CLIENT_KEY, ""), errors="replace") or _host(peer)
    return Caller(client[:MAX_CLIENT_CHARS], priority)


def told_priority(metadata: Iterable[tuple[str, str | bytes]]) -> Priority | None:
    """The priority that a call's metadata tell; None where they tell none that there is."""
    return _priority(_texts(metadata))


def call_metadata() -> tuple[tuple[str, str], ...]:
    """The metadata of a call to another service that is made for the current caller."""
    caller = current_caller.get()
    client = urllib.parse.quote(caller.client, safe="")
    return ((PRIORITY_KEY, caller.priority.value), (CLIENT_KEY, client))


def _host(peer: str) -> str:
    """The machine in a peer's address, without the port, which is another for every connection."""
    kind, _, address = urllib.parse.unquote(peer).partition(":")
    return address.rpartition(":")[0] if kind in ("ipv4", "ipv6") else kind


def _texts(metadata: Iterable[tuple[str, str | bytes]]) -> dict[str, str]:
    return {key: value for key, value in metadata if isinstance(value, str)}


def _priority(said: Mapping[str, str]) -> Priority | None:
    try:
        return Priority(said.get(PRIORITY_KEY, ""))
    except ValueError:
        return None
