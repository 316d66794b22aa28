"""What the stack plans, refuses, and does when a process dies; with small processes in the services' place."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

import psutil
import pytest

from services.stack import child as child_module
from services.stack import requirements
from services.stack.child import Child, ChildFailed
from services.stack.plan import Part, Process
from services.stack.requirements import CannotRun

HEALTHY = """
import sys, signal, threading
from concurrent import futures
import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
server = grpc.server(futures.ThreadPoolExecutor(2))
servicer = health.HealthServicer()
servicer.set("", health_pb2.HealthCheckResponse.SERVING)
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
server.add_insecure_port(sys.argv[1])
server.start()
if len(sys.argv) > 2: signal.signal(signal.SIGTERM, signal.SIG_IGN)
threading.Event().wait()
"""


def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def a_service(code, *words, stop_timeout_s=20.0):
    address = free_address()
    return Process(
        (Part("thing", address, free_address()),),
        (sys.executable, "-c", code, address, *words),
        {},
        stop_timeout_s,
    )


class Running:
    """A child that is kept running for the length of a test, and what it told."""

    def __init__(self, service, log=None):
        self.died = asyncio.Queue()
        self.got_ready = asyncio.Queue()
        self.hurry = asyncio.Event()
        self.child = Child(
            service,
            log,
            on_ready=lambda _, seconds: self.got_ready.put_nowait(seconds),
            on_death=lambda _, status: self.died.put_nowait(status),
        )

    async def __aenter__(self):
        self.keeper = asyncio.create_task(self.child.keep_running())
        return self

    async def __aexit__(self, *_):
        self.keeper.cancel()
        await asyncio.gather(self.keeper, return_exceptions=True)
        await self.child.stop(self.hurry)


@pytest.fixture
def quick_restarts(monkeypatch):
    monkeypatch.setattr(child_module, "FIRST_DELAY_S", 0.01)


async def test_a_process_that_is_killed_is_started_again_and_gets_ready(quick_restarts):
    async with Running(a_service(HEALTHY)) as running:
        await running.got_ready.get()
        first = running.child.pid
        os.kill(first, signal.SIGKILL)
        assert await running.died.get() == -signal.SIGKILL
        await running.got_ready.get()
        assert running.child.pid != first
        assert running.child.restarts == 1
    assert not psutil.pid_exists(first)
    assert running.child.pid is None


async def test_a_process_that_never_gets_ready_fails_the_stack(quick_restarts, tmp_path):
    log = tmp_path / "thing.log"
    async with Running(a_service("import sys; sys.exit('no good')"), log) as running:
        with pytest.raises(ChildFailed, match="status 1"):
            await running.keeper
    assert log.read_text().count("no good") == child_module.START_ATTEMPTS


async def test_a_process_that_will_not_stop_is_killed_in_time():
    async with Running(a_service(HEALTHY, "stubborn", stop_timeout_s=0.2)) as running:
        await running.got_ready.get()
        pid = running.child.pid
    assert not psutil.pid_exists(pid)


async def test_a_hurry_kills_at_once():
    async with Running(a_service(HEALTHY, "stubborn", stop_timeout_s=300)) as running:
        await running.got_ready.get()
        pid = running.child.pid
        running.hurry.set()
    assert not psutil.pid_exists(pid)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux ends children with their parent, others cannot")
async def test_a_process_ends_when_the_stack_is_killed():
    launch = Path(child_module.launch.__file__)
    code = (
        "import subprocess, sys, os\n"
        f"c = subprocess.Popen([sys.executable, '-I', '-S', {str(launch)!r}, str(os.getpid()), "
        "sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(600)'], stdout=subprocess.PIPE)\n"
        "c.stdout.readline(); print(c.pid, flush=True); sys.stdin.read()\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    grandchild = psutil.Process(int(await parent.stdout.readline()))
    parent.kill()
    await parent.wait()
    await asyncio.to_thread(psutil.wait_procs, [grandchild], timeout=30)
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE


def test_a_taken_address_is_refused_with_the_way_out():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(CannotRun, match="--address"):
            requirements.check_free(address)
    requirements.check_free(address)


def test_missing_packages_are_named_with_the_command_that_installs_them(monkeypatch):
    monkeypatch.setattr(requirements, "_installed", lambda name: name not in {"structlog", "openvino"})
    with pytest.raises(CannotRun, match=r"structlog.*\n.*pip install 'hemaserve\[services,embedded\]'"):
        requirements.check_packages(embedded=True)


def test_where_tritons_wheel_cannot_run_the_container_is_named(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.setattr("sys.platform", "darwin")
    with pytest.raises(CannotRun, match=r"docker run[\s\S]*hemaserve up --triton"):
        requirements.check_packages(embedded=True)
    requirements.check_packages(embedded=False)
