"""What nobody waits for any more is stopped everywhere: gateway, detector, classifier and Triton's queues."""

import asyncio
import urllib.request
from contextlib import AsyncExitStack
from dataclasses import dataclass

import grpc
import grpc.aio
import pytest
from prometheus_client import CollectorRegistry

from hemaserve.v1 import gateway_pb2, gateway_pb2_grpc
from services.classifier.application import open_application as open_classifier
from services.classifier.settings import ClassifierSettings
from services.detector.application import open_application as open_detector
from services.detector.settings import DetectorSettings
from services.gateway.application import open_application as open_gateway
from services.gateway.settings import GatewaySettings
from services.runtime.server import running

from ..conftest import REPOSITORY

ANYWHERE = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0"}
PATIENCE_S = 30


@dataclass
class World:
    """A stack of real services whose figures can be read."""

    stub: gateway_pb2_grpc.SmearServiceStub
    registries: dict[str, CollectorRegistry]
    triton_metrics: str

    def sum(self, service, name):
        """All series of a gauge, health and reflection left out."""
        families = self.registries[service].collect()
        return sum(sample.value for family in families for sample in family.samples if sample.name == name)

    def at_work(self):
        """What is in progress or waits, by service."""
        names = ("hemaserve_rpc_in_progress", "hemaserve_admission_held", "hemaserve_admission_waiting")
        return {service: sum(self.sum(service, name) for name in names) for service in self.registries}

    def in_triton(self):
        with urllib.request.urlopen(self.triton_metrics, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(
            float(line.rsplit(" ", 1)[1])
            for line in lines
            if line.startswith("nv_inference_pending_request_count{")
        )

    async def until(self, condition):
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110 - the conditions are about remote sides
                await asyncio.sleep(0.005)

    async def until_idle(self):
        await self.until(lambda: not any(self.at_work().values()))
        await self.until(lambda: not self.in_triton())


@pytest.fixture(scope="module")
async def world(start_triton):
    registries = {name: CollectorRegistry() for name in ("detector", "classifier", "gateway")}
    async with AsyncExitStack() as opened:
        triton = await opened.enter_async_context(start_triton(REPOSITORY, models=("xception", "yolov5n")))

        async def serve(name, open_application, settings):
            return await opened.enter_async_context(
                running(await open_application(settings), settings, name=name, registry=registries[name])
            )

        own = {"triton_address": triton.grpc_address, **ANYWHERE}
        detector = await serve("detector", open_detector, DetectorSettings(default_model="yolov5n", **own))
        classifier = await serve(
            "classifier",
            open_classifier,
            ClassifierSettings(default_model="xception", default_members=(), **own),
        )
        gateway = await serve(
            "gateway",
            open_gateway,
            GatewaySettings(
                detector_address=detector.address, classifier_address=classifier.address, **ANYWHERE
            ),
        )
        channel = await opened.enter_async_context(grpc.aio.insecure_channel(gateway.address))
        await channel.channel_ready()
        yield World(gateway_pb2_grpc.SmearServiceStub(channel), registries, triton.metrics_url)


def field(images, number):
    return gateway_pb2.Field(field_id=f"f{number}", sequence=number, image=images[number % len(images)])


async def test_cancelled_calls_leave_nothing_behind(world, images):
    calls = [
        world.stub.AnalyzeField(gateway_pb2.AnalyzeFieldRequest(field=field(images, n)), timeout=60)
        for n in range(20)
    ]
    tasks = [asyncio.ensure_future(call) for call in calls]
    await world.until(
        lambda: world.at_work()["detector"] and world.sum("gateway", "hemaserve_admission_waiting")
    )
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await world.until_idle()


async def test_calls_whose_deadline_passes_leave_nothing_behind(world, images):
    async def ask(number):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await world.stub.AnalyzeField(
                gateway_pb2.AnalyzeFieldRequest(field=field(images, number)), timeout=0.02
            )
        return refused.value.code()

    codes = await asyncio.gather(*(ask(number) for number in range(20)))
    assert set(codes) <= {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}
    await world.until_idle()


@pytest.mark.parametrize("timeout_s", [60, 0.5], ids=["cancelled", "expired"])
async def test_a_smear_that_is_given_up_leaves_nothing_behind(world, images, timeout_s):
    call = world.stub.AnalyzeSmear(timeout=timeout_s)
    try:
        await call.write(gateway_pb2.AnalyzeSmearRequest(open=gateway_pb2.OpenSmear(smear_id="s")))
        for number in range(5):
            await call.write(gateway_pb2.AnalyzeSmearRequest(field=field(images, number)))
        await world.until(lambda: world.at_work()["detector"])
    except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
        # It has expired already; whether rightly, the status says.
        expired = await call.code()
        if expired is not grpc.StatusCode.DEADLINE_EXCEEDED:
            raise
    if timeout_s == 60:
        call.cancel()
    await world.until_idle()
    # And the next call finds all as it was.
    await world.stub.AnalyzeField(gateway_pb2.AnalyzeFieldRequest(field=field(images, 0)), timeout=60)


async def test_who_does_not_read_results_slows_nobody_else(world, images):
    async def send_all(call):
        await call.write(gateway_pb2.AnalyzeSmearRequest(open=gateway_pb2.OpenSmear(smear_id="slow")))
        for number in range(60):
            await call.write(gateway_pb2.AnalyzeSmearRequest(field=field(images, number)))

    lazy = world.stub.AnalyzeSmear(timeout=120)
    sending = asyncio.create_task(send_all(lazy))
    try:
        await world.until(lambda: world.at_work()["detector"])
        others = [
            world.stub.AnalyzeField(gateway_pb2.AnalyzeFieldRequest(field=field(images, n)), timeout=60)
            for n in range(4)
        ]
        assert all(answer.result.cells for answer in await asyncio.gather(*others))
        # What it has not read, it holds no turn for.
        await world.until(lambda: not world.sum("detector", "hemaserve_rpc_in_progress"))
    finally:
        sending.cancel()
        lazy.cancel()
        await asyncio.gather(sending, return_exceptions=True)
    await world.until_idle()
