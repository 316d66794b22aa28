"""How much is with Triton at one time."""

import asyncio

import numpy as np

from hemaserve.errors import Unavailable
from hemaserve.results import Priority
from services.runtime.caller import Caller, current_caller
from services.triton.pace import PaceLimits, TritonPace

from ..runtime.virtual_time import run


class SlowTriton:
    """Takes 10 ms a row, as many requests at a time as come."""

    def __init__(self):
        self.rows_now = self.most_rows = 0
        self.priorities = []
        self.error = None

    async def infer(self, model, inputs, outputs, *, timeout_s, priority, headers):
        rows = len(inputs["x"])
        self.priorities.append(priority)
        self.rows_now += rows
        self.most_rows = max(self.most_rows, self.rows_now)
        try:
            await asyncio.sleep(0.01 * rows)
            if self.error:
                raise self.error
            return {"y": inputs["x"]}
        finally:
            self.rows_now -= rows


def paced(triton):
    return TritonPace(triton, PaceLimits(100, 2), clock=asyncio.get_running_loop().time)


async def ask(pace, rows, priority=Priority.ROUTINE, model="net"):
    current_caller.set(Caller("a", priority))
    return await pace.infer(model, {"x": np.zeros(rows)}, ["y"], timeout_s=100)


def test_a_batch_is_as_large_as_its_time_allows():
    async def play():
        pace = paced(SlowTriton())
        assert pace.rows("net", 64) == 64
        await ask(pace, 20)
        assert pace.rows("net", 64) == 10
        assert pace.rows("net", 4) == 4
        assert pace.rows("another", 64) == 64

    run(play())


def test_only_a_few_batches_of_work_are_with_triton_and_one_more_that_is_stat():
    async def play():
        triton = SlowTriton()
        pace = paced(triton)
        await ask(pace, 10)
        routine = [asyncio.create_task(ask(pace, 10)) for _ in range(8)]
        await asyncio.sleep(0.001)
        assert triton.rows_now == 20
        stat = asyncio.create_task(ask(pace, 10, Priority.STAT))
        await asyncio.sleep(0.001)
        assert triton.rows_now == 30
        assert triton.priorities[-1] == 1
        await asyncio.gather(stat, *routine)
        assert triton.most_rows == 30

    run(play())


def test_while_stat_is_at_work_nobody_else_gets_a_turn():
    async def play():
        triton = SlowTriton()
        pace = paced(triton)
        await ask(pace, 10)
        stat = asyncio.create_task(ask(pace, 10, Priority.STAT))
        await asyncio.sleep(0.001)
        routine = asyncio.create_task(ask(pace, 10))
        await asyncio.sleep(0.001)
        assert triton.rows_now == 10
        await asyncio.gather(stat, routine)
        assert triton.most_rows == 10

    run(play())


class QueueingTriton(SlowTriton):
    """Two instances: further requests wait for one of them."""

    def __init__(self):
        super().__init__()
        self.instances = asyncio.Semaphore(2)

    async def infer(self, model, inputs, outputs, *, timeout_s, priority, headers):
        async with self.instances:
            return await super().infer(
                model, inputs, outputs, timeout_s=timeout_s, priority=priority, headers=headers
            )


def test_waiting_in_tritons_queue_is_not_taken_for_work():
    async def play():
        pace = TritonPace(QueueingTriton(), PaceLimits(100, 3), clock=asyncio.get_running_loop().time)
        await ask(pace, 2)
        for _ in range(10):
            await asyncio.gather(*(ask(pace, 2) for _ in range(12)))
        assert pace.rows("net", 64) in (9, 10)

    run(play())


def test_a_network_that_hangs_or_fails_holds_up_no_other():
    async def play():
        triton = SlowTriton()
        pace = paced(triton)
        await ask(pace, 10)
        hanging = [asyncio.create_task(ask(pace, 10_000)) for _ in range(5)]
        async with asyncio.timeout(1):
            await ask(pace, 10, model="other")
        for task in hanging:
            task.cancel()
        await asyncio.gather(*hanging, return_exceptions=True)
        triton.error = Unavailable("gone")
        await asyncio.gather(*(ask(pace, 10) for _ in range(5)), return_exceptions=True)
        triton.error = None
        async with asyncio.timeout(1):
            await ask(pace, 10)

    run(play())
