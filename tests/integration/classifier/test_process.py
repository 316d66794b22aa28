"""`python -m services.classifier`, as it is deployed."""

import asyncio
import json
import os
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from hemaserve.v1 import cells_pb2, classifier_pb2, classifier_pb2_grpc
from services.runtime.remote import open_channel

MEGABYTE = 10**6
MOST_RESIDENT = 200 * MEGABYTE


@pytest.fixture
async def process(triton):
    environment = os.environ | {
        "HEMASERVE_CLASSIFIER_LISTEN": "127.0.0.1:0",
        "HEMASERVE_CLASSIFIER_METRICS_LISTEN": "127.0.0.1:0",
        "HEMASERVE_CLASSIFIER_TRITON_ADDRESS": triton,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.classifier", env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    yield process
    if process.returncode is None:
        process.kill()
    await process.communicate()


async def address_of(process):
    """The address that the service logs when it listens."""
    async with asyncio.timeout(60):
        async for line in process.stdout:
            entry = json.loads(line)
            if entry.get("event") == "listening":
                return entry["address"]
    raise AssertionError("the service ended before it listened")


async def test_it_stays_small_under_thousands_of_crops_and_ends_in_order(process, cell_crops):
    address = await address_of(process)
    # The pixels' way is the same to every model; this is the quickest.
    request = classifier_pb2.ClassifyRequest(
        model="vit",
        cells=[
            classifier_pb2.CellToClassify(crop=cells_pb2.Crop(size_px=len(crop), data=crop.tobytes()))
            for crop in np.concatenate([cell_crops, cell_crops])[:100]
        ],
    )
    async with open_channel(address) as channel:
        classifier = classifier_pb2_grpc.ClassifierServiceStub(channel)
        await classifier.ListClassifiers(classifier_pb2.ListClassifiersRequest())
        at_rest = resident(process.pid)
        streams = [classifier.Classify(iter([request] * 5)) for _ in range(4)]
        answered = await asyncio.gather(*(count_cells(stream) for stream in streams))
    at_work = resident(process.pid)
    megabytes = [each // MEGABYTE for each in (at_rest, at_work, resident(process.pid, at="VmHWM"))]
    print(f"resident at rest, after work and at most: {megabytes} MB")
    assert sum(answered) == 2000
    assert at_work < MOST_RESIDENT
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 60) == 0


def resident(pid, at="VmRSS"):
    """Bytes of a process that are in memory, now or (VmHWM) at the most so far."""
    status = Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(re.search(rf"{at}:\s+(\d+) kB", status)[1])


async def count_cells(stream):
    return sum([len(response.cells) async for response in stream])
