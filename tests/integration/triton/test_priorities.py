"""The real Triton takes the urgent first, and passes an ensemble's priority on to its members."""

import asyncio

import numpy as np
import pytest

from hemaserve.results import Priority
from services.triton.client import TritonClient
from services.triton.priorities import TRITON_PRIORITY

ROWS = np.zeros((1, 512, 512), np.float32)


@pytest.mark.parametrize("model", ["levels", "levels_ensemble"])
async def test_what_is_urgent_overtakes_what_waits(triton, pending_requests, model):
    finished = []
    async with TritonClient(triton.grpc_address) as client:

        async def ask(priority):
            await client.infer(model, {"x": ROWS}, ["y"], timeout_s=60, priority=TRITON_PRIORITY[priority])
            finished.append(priority)

        async with asyncio.TaskGroup() as group, asyncio.timeout(60):
            for count, priority in enumerate([Priority.BATCH] * 8 + [Priority.ROUTINE] * 3 + [Priority.STAT]):
                group.create_task(ask(priority))
                # The last ones are to find a queue.
                while count == 7 and pending_requests(triton, "levels") < 3:  # noqa: ASYNC110
                    await asyncio.sleep(0.002)
    assert finished[-1] is Priority.BATCH
    # Sent after all of these; the first of them may have begun before it came.
    assert finished.index(Priority.STAT) < max(
        i for i, each in enumerate(finished) if each is Priority.ROUTINE
    )
    assert finished.count(Priority.BATCH) == 8
