"""The whole examination, in the order in which one thing rests on another."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hemaserve.addresses import is_loopback, of_a_name, replicas
from hemaserve.client import Client, HemaServeError
from hemaserve.doctor import service
from hemaserve.doctor.figures import examine_metrics
from hemaserve.doctor.findings import Check, Finding, State, note, well, wrong
from hemaserve.doctor.models import committed, judge_models, judge_rollouts
from hemaserve.doctor.reach import (
    UNENCRYPTED,
    TlsPaths,
    connect,
    examine_closed,
    examine_tls,
    look_up,
)


@dataclass(frozen=True, slots=True)
class Questions:
    """What is to be examined.

    Attributes:
        address: the gateway's, as clients write it.
        client: makes a client of it.
        tls: what it connects with.
        shows_who: whether it shows who calls, by a key, a token or a certificate.
        metrics: URLs of metrics endpoints.
        closed: `host:port` that must not be reachable from here.
        within_s: what the answer to a small field may take.
    """

    address: str
    client: Callable[[], Client]
    tls: TlsPaths = field(default_factory=TlsPaths)
    shows_who: bool = False
    metrics: tuple[str, ...] = ()
    closed: tuple[str, ...] = ()
    within_s: float = service.WITHIN_S


async def examine(asked: Questions) -> AsyncIterator[Finding]:
    """Findings, as they are made. Where the way is barred, what lies behind is not asked."""
    barred = False
    for part in replicas(asked.address):
        host, _, port = part.rpartition(":")
        async for finding in _way(asked, host.strip("[]"), int(port)):
            barred |= finding.state is State.WRONG and finding.what != UNENCRYPTED
            yield finding
    if not barred:
        async for finding in _stack(asked):
            yield finding
    for url in asked.metrics:
        for finding in await asyncio.to_thread(_all, examine_metrics, url):
            yield finding
    for where in asked.closed:
        yield await asyncio.to_thread(examine_closed, where)


def _all(look: Callable[..., Iterator[Finding]], *args: Any, **kwargs: Any) -> list[Finding]:
    return list(look(*args, **kwargs))


async def _way(asked: Questions, host: str, port: int) -> AsyncIterator[Finding]:
    finding = await asyncio.to_thread(look_up, host, port)
    yield finding
    if finding.state is State.WRONG:
        return
    finding = await asyncio.to_thread(connect, host, port)
    yield finding
    if finding.state is State.WRONG:
        return
    loopback = not of_a_name(asked.address) and is_loopback(f"{host}:{port}")
    for finding in await asyncio.to_thread(_all, examine_tls, host, port, asked.tls, is_loopback=loopback):
        yield finding


async def _stack(asked: Questions) -> AsyncIterator[Finding]:
    async with asked.client() as client:
        yield await service.examine_health(client)
        try:
            models = await client.list_models()
        except HemaServeError as error:
            yield service.denied(Check.MODELS, error) or wrong(
                Check.MODELS,
                f"the models cannot be listed: {error}",
                "A gateway lists them while detector and classifier answer.",
                "See below which of them does not.",
            )
            if error.code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
                return
        else:
            yield _access(asked)
            for finding in (*judge_models(models, committed()), *judge_rollouts(models)):
                yield finding
        known = service.known_field()
        answering = True
        async for finding in service.examine_parts(client, known):
            answering &= finding.state is State.WELL
            yield finding
        if answering:
            async for finding in service.examine_answer(client, known, within_s=asked.within_s):
                yield finding
            yield await service.examine_limits(client)
        with suppress(HemaServeError):  # why was told above
            yield service.judge_quota(await client.quota())


def _access(asked: Questions) -> Finding:
    if asked.shows_who:
        return well(Check.ACCESS, "the gateway lets in who calls here")
    if all(map(is_loopback, replicas(asked.address))):
        return well(Check.ACCESS, "anybody on this machine may call")
    return note(
        Check.ACCESS,
        "anybody who can reach the gateway may call it",
        "Nobody can tell who called, and one caller can take everybody's time.",
        "Make keys with: hemaserve keys add NAME --role analyze, and serve with --access FILE",
    )
