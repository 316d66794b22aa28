"""The life of a process that serves several services: each by itself, until it is told to stop."""

import asyncio
import os
import signal
import urllib.request
from contextlib import asynccontextmanager

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hemaserve.errors import Unavailable
from services.runtime.process import Service, serve_all, until_told_to_stop
from services.runtime.settings import ServiceSettings


class App:
    """An application without any RPC, that tells when it is closed."""

    def __init__(self, name, closed):
        self.service_names = (name,)
        self.closed = closed
        self.trouble = None

    def register(self, server):
        pass

    async def check(self):
        if self.trouble:
            raise self.trouble

    async def close(self):
        self.closed.append(self.service_names[0])


def a_service(app, **settings):
    async def opened():
        return app

    told = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0", "health_interval_s": 0.02}
    return Service(app.service_names[0], ServiceSettings(**(told | settings)), opened)


async def health(address):
    async with grpc.aio.insecure_channel(address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        return (await check(health_pb2.HealthCheckRequest(), timeout=10)).status


async def until_health(address, status):
    async with asyncio.timeout(20), grpc.aio.insecure_channel(address) as channel:
        async for answer in health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest()):
            if answer.status == status:
                return


async def test_each_service_has_health_and_metrics_of_its_own(unused_tcp_port_factory):
    closed = []
    apps = [App("one", closed), App("two", closed)]
    apps[0].trouble = Unavailable("not yet")
    listen = [f"127.0.0.1:{unused_tcp_port_factory()}" for _ in apps]
    metrics = [f"127.0.0.1:{unused_tcp_port_factory()}" for _ in apps]
    services = [
        a_service(app, listen=own, metrics_listen=shown)
        for app, own, shown in zip(apps, listen, metrics, strict=True)
    ]
    async with serve_all(services):
        await until_health(listen[1], health_pb2.HealthCheckResponse.SERVING)
        assert await health(listen[0]) == health_pb2.HealthCheckResponse.NOT_SERVING
        shown = [
            (await asyncio.to_thread(urllib.request.urlopen, f"http://{address}/metrics")).read().decode()
            for address in metrics
        ]
        assert "hemaserve_ready 0.0" in shown[0]
        assert "hemaserve_ready 1.0" in shown[1]
        assert all("process_resident_memory_bytes" in text for text in shown)
    assert closed == ["two", "one"], "those who call drain first"


async def test_what_was_opened_is_closed_when_a_later_one_cannot_be():
    closed = []

    async def broken():
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        async with serve_all([a_service(App("one", closed)), Service("two", ServiceSettings(), broken)]):
            pass
    assert closed == ["one"]


class Serving:
    """Something to hold open, that tells what became of it; waits for `gate` where it says so."""

    def __init__(self):
        self.told = []
        self.opening = asyncio.Event()
        self.closing = asyncio.Event()
        self.gate = asyncio.Event()

    @asynccontextmanager
    async def quick_to_open(self):
        self.opening.set()
        try:
            yield
        finally:
            self.closing.set()
            await self.gate.wait()
            self.told.append("closed")

    @asynccontextmanager
    async def slow_to_open(self):
        self.opening.set()
        try:
            await self.gate.wait()
            yield
        finally:
            self.told.append("given up")


async def test_a_second_signal_does_not_cut_the_drain_short():
    serving = Serving()
    running = asyncio.create_task(until_told_to_stop(serving.quick_to_open()))
    await serving.opening.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await serving.closing.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(0)
    assert not running.done()
    serving.gate.set()
    await running
    assert serving.told == ["closed"]


async def test_a_signal_ends_what_is_still_being_opened():
    serving = Serving()
    running = asyncio.create_task(until_told_to_stop(serving.slow_to_open()))
    await serving.opening.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await running
    assert serving.told == ["given up"]


async def test_an_end_that_nobody_asked_for_is_told():
    @asynccontextmanager
    async def broken():
        raise OSError("the port is taken")
        yield

    with pytest.raises(OSError, match="taken"):
        await until_told_to_stop(broken())
