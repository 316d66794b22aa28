"""The real Triton takes the urgent first, and passes an ensemble's priority on to its members."""

import asyncio

import numpy as np
import pytest

from hemaserve.results import Priority
from services.triton.client import TritonClient
from services.triton.priorities import TRITON_PRIORITY

ROWS = np.zeros((1, 512, 512), np.float32)


@pytest.mark.parametrize("model", ["levels", "levels_ensemble"])
async def test_what_is_urgent_overtakes_what_waits(triton, pending_requests, frozen, model):
    finished, waiting = [], -1  # the first one is begun at once
    async with TritonClient(triton.grpc_address) as client:

        async def ask(priority):
            await client.infer(model, {"x": ROWS}, ["y"], timeout_s=60, priority=TRITON_PRIORITY[priority])
            finished.append(priority)

        async with asyncio.TaskGroup() as group, asyncio.timeout(60):
            # Nothing is finished before all have come.
            with frozen(triton, "levels"):
                for sent in ([Priority.BATCH] * 8, [Priority.ROUTINE] * 2 + [Priority.STAT]):
                    waiting += len(sent)
                    for priority in sent:
                        group.create_task(ask(priority))
                    while await asyncio.to_thread(pending_requests, triton, "levels") < waiting:  # noqa: ASYNC110
                        await asyncio.sleep(0.002)
    begun, *others = finished
    assert begun is Priority.BATCH
    assert others == [Priority.STAT] + [Priority.ROUTINE] * 2 + [Priority.BATCH] * 7
