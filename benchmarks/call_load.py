"""Calls of a gateway as load, from a process of their own: as fast as it answers, or at a rate of their own."""

import asyncio
import multiprocessing
import random
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any, Final

MIX: Final = {"stat": 0.02, "routine": 0.49, "batch": 0.49}
"""Shares of the calls under overload. STAT is rare, as it is in a laboratory: it is nobody's flood."""

CLIENTS: Final = 4
"""Connections under overload. Without credentials, clients are told apart by their addresses, here one."""

OK, REFUSED, LATE, FAILED = "ok", "refused", "late", "failed"


@dataclass(frozen=True, slots=True)
class Call:
    """One call: its priority, what became of it, and how long that took."""

    priority: str
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Whom to ask, and the deadline of each call in seconds."""

    address: str
    deadline_s: float


def generate(
    load: Any, plan: Plan, seconds: float, how_much: float, *, meanwhile: Any = lambda: None
) -> tuple[list[Call], float, float]:
    """Run a kind of load in a process of its own; its calls, its processor seconds, and how long calls were begun."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_loading, args=(load, plan, seconds, how_much, sender))
    process.start()
    sender.close()
    try:
        while not receiver.poll(0.5):
            if not process.is_alive() and not receiver.poll():
                sys.exit("the load generator died")
            meanwhile()
        rows, cpu_s, took_s = receiver.recv()
        process.join()
    finally:
        process.kill()
    return [Call(**row) for row in rows], cpu_s, took_s


def _loading(load: Any, plan: Plan, seconds: float, how_much: float, sender: Any) -> None:
    images = _images()
    before, began = time.process_time(), time.monotonic()
    calls = asyncio.run(load(plan, seconds, how_much, images))
    took_s = min(time.monotonic() - began, seconds)
    sender.send(([asdict(call) for call in calls], time.process_time() - before, took_s))


def _images() -> list[bytes]:
    from hemaserve import synthetic  # noqa: PLC0415 - in the load's process only

    return [synthetic.encode_png(synthetic.generate_field(seed).image) for seed in range(12)]


async def closed_loop(plan: Plan, seconds: float, at_once: float, images: list[bytes]) -> list[Call]:
    """So many routine calls at a time, each followed by the next."""
    calls: list[Call] = []
    end = time.monotonic() + seconds

    async def one_after_another(caller: "_Caller") -> None:
        while time.monotonic() < end:
            calls.append(await caller.ask("routine"))

    async with _Caller(plan, images) as caller:
        await asyncio.gather(*(one_after_another(caller) for _ in range(int(at_once))))
    return calls


async def stat_alone(plan: Plan, seconds: float, _: float, images: list[bytes]) -> list[Call]:
    """One STAT call after another."""
    calls: list[Call] = []
    end = time.monotonic() + seconds
    async with _Caller(plan, images) as caller:
        while time.monotonic() < end:
            calls.append(await caller.ask("stat"))
    return calls


async def open_loop(plan: Plan, seconds: float, rate: float, images: list[bytes]) -> list[Call]:
    """So many calls a second of all priorities, whether the ones before are answered or not."""
    chance = random.Random(1)
    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        tasks = []
        callers = [await _Caller(plan, images).__aenter__() for _ in range(CLIENTS)]
        at = 0.0
        while (at := at + chance.expovariate(rate)) < seconds:
            await asyncio.sleep(max(0.0, began + at - time.monotonic()))
            (priority,) = chance.choices(list(MIX), list(MIX.values()))
            tasks.append(group.create_task(chance.choice(callers).ask(priority)))
    for caller in callers:
        await caller.__aexit__()
    return [task.result() for task in tasks]


class _Caller:
    """A client without retries: what is refused counts as refused."""

    def __init__(self, plan: Plan, images: list[bytes]) -> None:
        self._plan = plan
        self._images = images
        self._number = 0

    async def __aenter__(self) -> "_Caller":
        import grpc.aio  # noqa: PLC0415 - in the load's process only

        from hemaserve.v1 import gateway_pb2_grpc  # noqa: PLC0415

        # A connection each: channels of one process to one address share theirs otherwise.
        self._channel = grpc.aio.insecure_channel(
            self._plan.address, options=[("grpc.use_local_subchannel_pool", 1)]
        )
        self._stub = gateway_pb2_grpc.SmearServiceStub(self._channel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def ask(self, priority: str) -> Call:
        import grpc  # noqa: PLC0415

        from hemaserve.v1 import gateway_pb2  # noqa: PLC0415

        self._number += 1
        request = gateway_pb2.AnalyzeFieldRequest(
            field=gateway_pb2.Field(field_id="f", image=self._images[self._number % len(self._images)]),
            priority=gateway_pb2.Priority.Value(f"PRIORITY_{priority.upper()}"),
        )
        began = time.monotonic()
        try:
            await self._stub.AnalyzeField(request, timeout=self._plan.deadline_s)
            outcome = OK
        except grpc.aio.AioRpcError as error:
            outcome = {
                grpc.StatusCode.RESOURCE_EXHAUSTED: REFUSED,
                grpc.StatusCode.DEADLINE_EXCEEDED: LATE,
            }.get(error.code(), f"{FAILED}: {error.code().name}")
        return Call(priority, outcome, time.monotonic() - began)
