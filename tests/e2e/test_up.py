"""The stack's life: a line each, restarts, and nothing left behind."""

import asyncio
import os
import re
import signal
import subprocess

import psutil
import pytest

from hemaserve import synthetic
from hemaserve.cli.exits import ExitCode
from hemaserve.client import Client

from .conftest import COMMAND, wait_until

pytestmark = pytest.mark.e2e

SERVICES = ("triton", "detector", "classifier", "gateway")


def test_each_service_gets_a_line_when_ready(stack):
    lines = (stack.ready_file.parent / "up.txt").read_text()
    for service in SERVICES:
        assert re.search(rf"^{service} +ready +127\.0\.0\.1:\d+ +[\d.]+ s$", lines, re.MULTILINE)
    assert f"HemaServe is ready at {stack.address}" in lines


def test_a_taken_address_is_refused_at_once(stack):
    done = subprocess.run(
        [*COMMAND, "up", "--address", stack.address], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == ExitCode.UNREACHABLE
    assert "taken" in done.stderr


@pytest.mark.parametrize("service", ["detector", "classifier", "gateway"])
def test_a_killed_service_is_started_again_and_all_is_well(stack, hemaserve, service):
    pid = stack.pid(service)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: stack.pid(service) not in (pid, None), f"{service} is ready again")
    wait_until(lambda: hemaserve("health").returncode == ExitCode.OK, "the stack is healthy again")
    assert stack.state()["services"][service]["restarts"] >= 1


async def test_a_smear_survives_the_death_of_the_gateway(stack):
    images = [synthetic.encode_jpeg(synthetic.generate_field(seed).image) for seed in range(10)]
    restarts = stack.state()["services"]["gateway"]["restarts"]
    heard = []

    def on_result(result):
        heard.append(result.field_id)
        if len(heard) == 3:
            os.kill(stack.pid("gateway"), signal.SIGKILL)

    async with Client(stack.address) as client:
        result = await client.analyze_smear(images, on_result=on_result)
        again = await client.analyze_smear(images)
    assert sorted(heard, key=int) == [str(number) for number in range(1, 11)]
    assert result.fields_counted == 10
    assert result.differential == again.differential
    await asyncio.to_thread(
        wait_until,
        lambda: stack.state()["services"]["gateway"]["restarts"] > restarts,
        "the restart is noted",
    )


@pytest.mark.slow  # starts a stack of its own
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_stays_behind(own_stack, number):
    processes = own_stack.processes()
    assert len(processes) >= 1 + len(SERVICES)
    own_stack.process.send_signal(number)
    status = own_stack.process.wait(120)
    _, alive = psutil.wait_procs(processes[1:], timeout=60)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    if number == signal.SIGINT:
        assert status == 0
        assert not own_stack.ready_file.exists()


@pytest.mark.slow  # starts a stack of its own
@pytest.mark.parametrize(("interrupted", "words"), [(False, ()), (True, ()), (False, ("--profile", "tiny"))])
def test_the_demo_starts_a_stack_and_takes_it_along(tmp_path, free_address, interrupted, words):
    process = subprocess.Popen(
        [*COMMAND, "demo", "--address", free_address, "--out", str(tmp_path / "demo"), *words],
        cwd=tmp_path,
        env=os.environ | {"XDG_STATE_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    own = psutil.Process(process.pid)
    started = wait_until(
        lambda: len(own.children(recursive=True)) > len(SERVICES) and own.children(recursive=True),
        "processes",
    )
    if interrupted:
        process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=240)
    assert process.returncode == (ExitCode.INTERRUPTED if interrupted else ExitCode.OK), said
    assert interrupted or "Look at" in said
    _, alive = psutil.wait_procs(started, timeout=60)
    assert not [item for item in alive if item.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("service", ["detector", "classifier", "gateway"])
def test_a_service_stays_below_200_mib_after_work(stack, hemaserve, field_files, service):
    assert hemaserve("analyze", *field_files[:8]).returncode == 0

    resident = psutil.Process(stack.pid(service)).memory_info().rss

    assert resident < 200 * 2**20
