"""`python -m services.gateway` as a process of its own: small, healthy while it can answer, gone when told."""

import asyncio
import os
import re
import signal
import sys

import grpc.aio
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hemaserve.v1 import gateway_pb2, gateway_pb2_grpc

MEGABYTE = 1e6
LIMIT_MB = 200
PATIENCE_S = 60


@pytest.fixture
async def process(behind):
    """The process, and the address that its log tells."""
    environment = {f"HEMASERVE_GATEWAY_{name.upper()}": address for name, address in behind.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.gateway", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"),
        env=os.environ | environment,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            line = await process.stderr.readuntil(b"listening")
            line += await process.stderr.readline()
        yield process, re.search(r'"address": "([^"]+)"', line.decode())[1]
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_it_stays_small_over_a_hundred_fields_and_ends_when_told(process, images):
    child, address = process
    async with grpc.aio.insecure_channel(address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(service="hemaserve.v1.SmearService"), timeout=PATIENCE_S
        )
        while (await watch.read()).status != health_pb2.HealthCheckResponse.SERVING:
            pass
        watch.cancel()
        at_rest = psutil.Process(child.pid).memory_info().rss / MEGABYTE
        opening = gateway_pb2.AnalyzeSmearRequest(open=gateway_pb2.OpenSmear(smear_id="smear"))
        fields = [
            gateway_pb2.AnalyzeSmearRequest(
                field=gateway_pb2.Field(
                    field_id=f"f{number}", sequence=number, image=images[number % len(images)]
                )
            )
            for number in range(100)
        ]
        stub = gateway_pb2_grpc.SmearServiceStub(channel)
        responses = [response async for response in stub.AnalyzeSmear(iter([opening, *fields]))]
        after = psutil.Process(child.pid).memory_info().rss / MEGABYTE
    print(f"gateway: {at_rest:.0f} MB at rest, {after:.0f} MB after a hundred fields")
    assert responses[-1].smear_result.fields_counted == 100
    assert at_rest < LIMIT_MB
    assert after < LIMIT_MB
    child.send_signal(signal.SIGTERM)
    async with asyncio.timeout(PATIENCE_S):
        await child.communicate()
    assert child.returncode == 0
