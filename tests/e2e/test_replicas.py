"""With two replicas of each process, the loss of any one costs no field, no answer and no time to speak of."""

import asyncio
import os
import random
import re
import signal
import time
from pathlib import Path

import pytest

from hemaserve import synthetic
from hemaserve.cli.exits import ExitCode
from hemaserve.client import Client

from .conftest import run_command, running_stack, wait_until

# A stack of two replicas starts in 15 s, and each loss is waited out before the next.
pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SERVICES = ("triton", "detector", "classifier", "gateway")
FIELDS = 12
CALLERS = 3


@pytest.fixture(scope="module")
def replicated(tmp_path_factory):
    with running_stack(tmp_path_factory.mktemp("replicas"), "--replicas", 2) as running:
        yield running


@pytest.fixture(scope="module")
def images():
    return [synthetic.encode_jpeg(synthetic.generate_field(seed).image) for seed in range(FIELDS)]


@pytest.fixture
def whole(replicated):
    """The stack, with all of its processes there."""
    wait_until(lambda: all(one["pid"] for one in all_of(replicated)), "all processes are there")
    return replicated


def all_of(stack):
    return [one for each in stack.state()["replicas"].values() for one in each]


def answers(results):
    return {
        result.field_id: [
            (cell.cell_id, cell.box, cell.classification.type, cell.classification.degraded)
            for cell in result.cells
        ]
        for result in results
    }


def lose(stack, service, number):
    """Send a signal to one of the two processes of a service, either; gives what waits for it to be back."""
    one = random.randrange(2)
    before = stack.state()["replicas"][service][one]
    os.kill(before["pid"], number)

    def back():
        now = stack.state()["replicas"][service][one]
        return now["restarts"] > before["restarts"] and now["pid"] not in (None, before["pid"])

    return lambda: wait_until(back, f"{service} is back")


async def test_the_stack_tells_of_all_replicas(whole):
    state = whole.state()
    assert {name: len(each) for name, each in state["replicas"].items()} == dict.fromkeys(SERVICES, 2)
    assert {name: each[0] for name, each in state["replicas"].items()} == state["services"]
    assert state["address"] == ",".join(one["address"] for one in state["replicas"]["gateway"])
    assert state["address"].startswith(whole.address + ",")
    said = (whole.ready_file.parent / "up.txt").read_text()
    assert f"HemaServe is ready at {state['address']}" in said
    assert re.search(r"^detector-2 +ready +127\.0\.0\.1:\d+", said, re.MULTILINE)


def test_the_command_takes_the_addresses_of_all_gateways(whole, tmp_path):
    done = run_command(whole, tmp_path, "health", "--address", whole.state()["address"])
    assert done.returncode == ExitCode.OK, done.stderr


@pytest.mark.parametrize("service", SERVICES)
async def test_a_smear_is_whole_whichever_process_is_killed_whenever(whole, images, service):
    seed = time.time_ns()
    print("seed", seed)
    random.seed(seed)
    moment = random.randrange(1, FIELDS)
    heard, back = [], []

    def on_result(result):
        heard.append(result)
        if len(heard) == moment:
            back.append(lose(whole, service, signal.SIGKILL))

    async with Client(whole.state()["address"]) as client:
        undisturbed = await client.analyze_smear(images)
        result = await client.analyze_smear(images, on_result=on_result)
    assert sorted(one.field_id for one in heard) == sorted(one.field_id for one in undisturbed.fields)
    assert not result.failed_field_ids
    assert result.fields_counted == FIELDS
    assert answers(heard) == answers(undisturbed.fields)
    assert result.differential == undisturbed.differential
    await asyncio.to_thread(back[0])


@pytest.mark.parametrize("service", SERVICES)
async def test_nobody_notices_that_a_process_is_told_to_stop(whole, images, service):
    over = asyncio.Event()
    answered = 0
    more = asyncio.Condition()

    async def until_answered(count):
        async with asyncio.timeout(60), more:
            await more.wait_for(lambda: answered >= count)

    async with Client(whole.state()["address"]) as client:
        expected = [await client.analyze_field(image) for image in images[:CALLERS]]

        async def ask(number):
            nonlocal answered
            while not over.is_set():
                result = await client.analyze_field(images[number])
                assert answers([result]) == answers([expected[number]])
                async with more:
                    answered += 1
                    more.notify_all()

        async with asyncio.TaskGroup() as group:
            for number in range(CALLERS):
                group.create_task(ask(number))
            await until_answered(CALLERS)
            back = lose(whole, service, signal.SIGTERM)
            await asyncio.to_thread(back)
            await until_answered(answered + CALLERS)
            over.set()


def test_the_stacks_folder_has_a_log_of_each_process(whole):
    names = {path.name for path in Path(whole.log_dir).rglob("*.log")}
    assert {"detector.log", "detector-2.log", "triton-2.log"} <= names
