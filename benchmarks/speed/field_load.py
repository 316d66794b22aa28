"""What the networks are shown of fields, straight to Triton without any service: each field's squares, then its crops.

From a process of its own, with requests made beforehand and answers not looked into. Where networks run in Triton,
fields cannot be had for less: what the gateway stays below it is what the services take.
"""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.speed.crop_load import INFER, OPTIONS, TIMEOUT_S, Asked, infer_request, rate
from benchmarks.speed.networks import DETECTOR, ENSEMBLE
from benchmarks.speed.work import FieldWork


def triton(
    address: str, seeing: Sequence[str], naming: Sequence[str], work: Sequence[FieldWork]
) -> Callable[..., Any]:
    """Prepare a process to drive Triton; asked how many fields at a time and for how long, it tells fields a second.

    Args:
        seeing: what the detection network is asked for.
        naming: what the ensemble is asked for.
        work: what is sent, field after field, over and over.
    """
    fields = [_requests(field, seeing, naming) for field in work]

    def act(at_once: int, seconds: float) -> float:
        return asyncio.run(_per_second(address, fields, at_once, seconds))

    return act


def _requests(field: FieldWork, seeing: Sequence[str], naming: Sequence[str]) -> list[bytes]:
    """Of one field, in their order."""
    requests = [infer_request(DETECTOR, seeing, "images", batch) for batch in field.squares]
    if len(field.crops):
        requests.append(infer_request(ENSEMBLE, naming, "crops", field.crops))
    return requests


async def _per_second(address: str, fields: Sequence[Sequence[bytes]], at_once: int, seconds: float) -> float:
    import grpc.aio  # noqa: PLC0415 - in the load's process only

    taken = itertools.count()
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        infer: Any = channel.unary_unary(INFER)

        async def ask() -> None:
            for request in fields[next(taken) % len(fields)]:
                await infer(request, timeout=TIMEOUT_S)

        return await rate(ask, Asked(batch=1, at_once=at_once), seconds)
