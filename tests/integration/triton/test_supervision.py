"""What becomes of Triton, and of its stubs, when somebody dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import yaml

from services.triton import guard
from services.triton.client import TritonClient
from services.triton.embedded import EmbeddedTriton, TritonStartError

from .conftest import adder

POD = Path(__file__).parents[3] / "deploy" / "k8s" / "base" / "triton.yaml"
X = {"x": np.zeros((1, 4), np.float32)}


def children(pid: int) -> list[int]:
    """Process ids of the children of all threads of a process; none if it is gone."""
    try:
        return [
            int(c)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for c in (task / "children").read_text().split()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return []


def program_of(pid: int) -> str | None:
    """The program that a process runs; none if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]
    except (FileNotFoundError, ProcessLookupError):  # the second where it goes between opening and reading
        return None


def descendants(pid: int) -> dict[int, str]:
    """Programs by process id of all that a process brought forth."""
    found = {}
    for child in children(pid):
        program = program_of(child)
        if program is not None:
            found |= {child: program} | descendants(child)
    return found


def running(pids: dict[int, str]) -> dict[int, str]:
    """Those that still run the program that they ran; zombies do not run."""
    return {pid: program for pid, program in pids.items() if program_of(pid) == program}


def shared_memory(server_id: str) -> list[Path]:
    return list(Path("/dev/shm").glob(f"{server_id}*"))


def server_id(family: dict[int, str]) -> str:
    """The id that tritonserver was given, which its shared memory regions begin with."""
    (server,) = (pid for pid, program in family.items() if program.endswith("/tritonserver"))
    words = Path(f"/proc/{server}/cmdline").read_text().split("\0")
    return next(word.removeprefix("--id=") for word in words if word.startswith("--id="))


def stubs(triton: EmbeddedTriton) -> list[int]:
    return [pid for pid, program in descendants(triton.pid or 0).items() if "stub" in program]


def users(file: Path, pids: Iterable[int]) -> list[int]:
    """Those of some processes that have a file open."""
    found = []
    for pid in pids:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if any(link.readlink() == file for link in Path(f"/proc/{pid}/fd").iterdir()):
                found.append(pid)
    return found


async def wait_for(condition: Callable[[], bool]) -> None:
    """Polls; the test's own time limit is the limit."""
    while not condition():  # noqa: ASYNC110 - it is another process's
        await asyncio.sleep(0.05)


async def test_a_stopped_server_leaves_neither_process_nor_shared_memory(
    small_repository, start_triton
) -> None:
    async with start_triton(small_repository) as triton:
        family = descendants(triton.pid)
        assert any("stub" in program for program in family.values())
        name = server_id(family)
        assert shared_memory(name)
    assert not running(family)
    assert triton.pid is None
    assert not shared_memory(name)


async def test_a_stop_lets_inferences_in_flight_finish(repository, start_triton, pending_requests) -> None:
    x = {"x": np.ones((1, 512, 512), np.float32)}
    async with (
        start_triton(repository, models=("busy",)) as triton,
        TritonClient(triton.grpc_address) as client,
    ):
        tasks = [asyncio.create_task(client.infer("busy", x, ["y"])) for _ in range(4)]
        while await asyncio.to_thread(pending_requests, triton, "busy") < 3:
            assert not any(task.done() for task in tasks)
        await asyncio.to_thread(triton.stop)
        for answer in await asyncio.gather(*tasks):
            np.testing.assert_array_equal(answer["y"], x["x"])


async def test_a_killed_tritonserver_is_started_again_on_the_same_port(
    small_repository, start_triton
) -> None:
    async with start_triton(small_repository) as triton, TritonClient(triton.grpc_address) as client:
        assert (await client.infer("one", X, ["y"]))["y"][0, 0] == 1
        family = descendants(triton.pid)
        (server,) = (pid for pid, program in family.items() if program.endswith("/tritonserver"))
        os.kill(server, signal.SIGKILL)
        await wait_for(lambda: not running(family))
        await wait_for(triton.is_ready)
        assert triton.restarts == 1
        while not await client.ready("one"):
            pass
        assert (await client.infer("one", X, ["y"]))["y"][0, 0] == 1


async def test_a_triton_that_takes_no_requests_is_killed_and_started_again(
    small_repository, start_triton, frozen
) -> None:
    async with (
        start_triton(small_repository, stuck_after_s=1.5) as triton,
        TritonClient(triton.grpc_address) as client,
    ):
        family = descendants(triton.pid)
        with frozen(triton):
            await wait_for(lambda: triton.restarts == 1 and triton.is_ready())
        assert not running(family)
        while not await client.ready("one"):
            pass
        assert (await client.infer("one", X, ["y"]))["y"][0, 0] == 1
    assert triton.restarts == 1


@pytest.mark.usefixtures("curl")
async def test_the_pods_liveness_probe_tells_whether_triton_takes_requests(
    small_repository, start_triton, frozen
) -> None:
    (container,) = yaml.safe_load(POD.read_text())["spec"]["template"]["spec"]["containers"]
    words = container["livenessProbe"]["exec"]["command"]

    async def exit_status() -> int:
        asking = await asyncio.create_subprocess_exec(
            *(word.replace("127.0.0.1:8001", triton.grpc_address) for word in words)
        )
        return await asking.wait()

    async with start_triton(small_repository) as triton:
        assert await exit_status() == 0
        with frozen(triton):
            assert await exit_status() == 28, "curl's for an answer that did not come in time"
        assert await exit_status() == 0
    assert await exit_status() != 0


async def test_a_dead_stub_brings_triton_back_whole(small_repository, start_triton) -> None:
    """Triton itself would go on giving requests to the dead one and say that the model is ready."""
    async with start_triton(small_repository) as triton, TritonClient(triton.grpc_address) as client:
        family = descendants(triton.pid)
        os.kill(stubs(triton)[0], signal.SIGKILL)
        await wait_for(lambda: triton.restarts == 1 and triton.is_ready())
        assert not running(family)
        while not await client.ready("one"):
            pass
        answers = await asyncio.gather(*(client.infer("one", X, ["y"]) for _ in range(20)))
        assert all(answer["y"][0, 0] == 1 for answer in answers)


async def test_a_stub_that_dies_while_its_model_loads_costs_that_model_alone(
    small_repository, start_triton
) -> None:
    """Triton asks after such a stub, so that the guard does not take it for one that nobody misses."""
    adder(small_repository, "stuck", 1.0, "instance_group [{ kind: KIND_CPU count: 1 }]")
    network = small_repository / "stuck" / "1" / "model.onnx"
    network.unlink()
    os.mkfifo(network)
    pipe = os.open(network, os.O_RDWR)  # who reads it waits for what never comes
    triton = start_triton(small_repository)
    starting = asyncio.create_task(asyncio.to_thread(triton.start))
    try:
        while not starting.done():
            for pid in users(network, stubs(triton)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.05)
        await starting
        assert "Z" not in {
            state for pid in descendants(triton.pid) for state in guard._children(pid).values()
        }
        async with TritonClient(triton.grpc_address) as client:
            assert await client.models() == ["one"]
        assert triton.restarts == 0
    finally:
        await asyncio.to_thread(triton.stop)
        os.close(pipe)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_nothing_outlives_the_process_that_started_it(small_repository, start_triton, number) -> None:
    flags = ["--repository", small_repository, "--grpc-port", "0", "--http-port", "0", "--metrics-port", "0"]
    with subprocess.Popen(  # noqa: ASYNC220
        [sys.executable, "-m", "services.triton", *map(str, flags)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline().startswith("Triton is ready: grpc 127.0.0.1:")
        family = descendants(parent.pid)
        assert {Path(program).name for program in family.values()} >= {
            "tritonserver",
            "triton_python_backend_stub",
        }
        name = server_id(family)
        parent.send_signal(number)
        assert parent.wait() == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    await wait_for(lambda: not running(family))
    assert not shared_memory(name)


async def test_a_killed_guard_takes_triton_along_and_is_replaced(small_repository, start_triton) -> None:
    async with start_triton(small_repository) as triton:
        family = descendants(triton.pid)
        os.kill(triton.pid, signal.SIGKILL)
        await wait_for(lambda: not running(family))
        await wait_for(triton.is_ready)
        assert triton.restarts == 1


def test_a_server_that_cannot_start_says_why(small_repository, start_triton, triton: EmbeddedTriton) -> None:
    taken = triton.ports.grpc
    with (
        pytest.raises(TritonStartError, match="already in use"),
        start_triton(small_repository, grpc_port=taken, stop_timeout_s=1.0),
    ):
        pass


def test_only_the_models_asked_for_are_loaded_and_an_ensemble_brings_its_members(
    repository, start_triton
) -> None:
    async def names(address: str) -> list[str]:
        async with TritonClient(address) as client:
            return await client.models()

    with start_triton(repository, models=("ensemble",)) as triton:
        assert asyncio.run(names(triton.grpc_address)) == ["ensemble", "one", "three", "vote"]


def test_a_configuration_without_inputs_is_completed_from_the_network(small_repository, start_triton) -> None:
    (small_repository / "one" / "config.pbtxt").write_text('backend: "onnxruntime"')

    async def ask(address: str) -> None:
        async with TritonClient(address) as client:
            description = await client.model_config("one")
            assert [(t.name, t.dtype, t.dims) for t in description.inputs] == [("x", "FP32", (4,))]
            assert [(t.name, t.dtype, t.dims) for t in description.outputs] == [("y", "FP32", (4,))]
            assert description.max_batch_size == 4
            assert (await client.infer("one", X, ["y"]))["y"][0, 0] == 1

    with start_triton(small_repository, auto_complete=True) as triton:
        asyncio.run(ask(triton.grpc_address))
