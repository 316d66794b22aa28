"""What the simulation needs to know of a stack, and how long the real stack takes: both from one stack that runs.

Service times come from four places: how long Triton takes for a network when nothing else runs and when all cores are
busy (asked directly), what each field asks of the networks (Triton's statistics before and after it), and how much
processor time each process spends on a field (the operating system's count).
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
from tritonclient.grpc import InferInput, InferRequestedOutput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype

from benchmarks import images
from benchmarks.call_load import Call, Plan, closed_loop, generate, open_loop
from benchmarks.footprint import stack
from benchmarks.machine import facts
from benchmarks.peers.callers import GATEWAY, OK, Target, caller

CALLERS: Final = (1, 2, 4, 8)
SHARES: Final = (0.3, 0.5, 0.7, 0.9)
"""Loads of the open loop, as shares of the most that a closed loop got."""

FIELDS: Final = 12
"""Different ones in the load."""

PROBES: Final = 16
DEADLINE_S: Final = 20.0
"""Of the calls: so long that nothing is refused for it, because here it is time that is measured."""

NETWORKS: Final = {"yolov8n": (1, 2, 4), "efficientnet": (1, 4, 8), "xception": (1, 4, 8), "vote": (1, 4, 8)}
"""The networks, and the rows of the requests that tell what each takes: a line through them gives what a request and
what a row takes."""

ENSEMBLE: Final = "ensemble"


MOST_OTHERS: Final = 0.02
"""Share of the machine that other work may take during a load; beyond it, the load is put on once more."""

TRIES: Final = 2


def measure(
    warm_up_s: float, closed_s: float, open_s: float, before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Start a stack of the default profile; what it takes for each part of its work, and how it did under load.

    Args:
        before: what was measured before, if it was: its loads are put on again, and of each the run counts that other
            work disturbed least.
    """
    with tempfile.TemporaryDirectory() as folder, stack(Path(folder), "default") as state:
        target = Target(GATEWAY, state["address"], DEADLINE_S)
        files = images.generated(FIELDS).files
        plan = Plan(target, files)
        generate(closed_loop, plan, warm_up_s, 4)
        triton = state["services"]["triton"]["address"]
        fields = asyncio.run(_fields(target, files, triton))
        networks = asyncio.run(_networks(triton))
        known = {} if before is None else {_name(run): run for run in before["runs"]}
        runs = [_least_disturbed(state, "closed", plan, closed_s, count, known) for count in CALLERS]
        peak = max(run["throughput"] for run in runs) if before is None else before["peak"]
        runs += [_least_disturbed(state, "open", plan, open_s, share * peak, known) for share in SHARES]
    return {
        "machine": facts(),
        "ready_s": round(state["total_s"], 2),
        "peak": peak,
        "fields": fields,
        "networks": networks,
        "runs": runs,
    }


async def _fields(target: Target, files: Sequence[bytes], triton: str) -> list[dict[str, Any]]:
    """What each of the load's fields asks of the networks, one field at a time."""
    found = []
    async with InferenceServerClient(triton) as client, caller(target) as ours:
        for image in files:
            before = await _rows(client)
            outcome = await ours.call(image, "routine")
            if outcome != OK:
                sys.exit(f"a field was not answered: {outcome}")
            after = await _rows(client)
            spent = {name: _minus(after[name], before[name]) for name in after}
            looks = spent["yolov8n"]
            found.append(
                {
                    "bytes": len(image),
                    "looks": looks[0],
                    "pieces": looks[1],
                    "crops": spent[ENSEMBLE][1],
                }
            )
    return found


def _minus(after: tuple[int, int], before: tuple[int, int]) -> tuple[int, int]:
    return after[0] - before[0], after[1] - before[1]


async def _rows(client: InferenceServerClient) -> dict[str, tuple[int, int]]:
    """Requests and rows that each model has answered so far."""
    answer = await client.get_inference_statistics()
    return {
        model.name: (model.inference_stats.success.count, model.inference_count)
        for model in answer.model_stats
    }


async def _networks(address: str) -> dict[str, Any]:
    """What each network takes: for requests of several sizes, one at a time and as many as there are cores."""
    found = {}
    async with InferenceServerClient(address) as client:
        cores = psutil.cpu_count() or 1
        for name, sizes in NETWORKS.items():
            config = await client.get_model_config(name, as_json=True)
            inputs = config["config"]["input"]
            alone = {rows: await _times(client, name, inputs, rows, 1) for rows in sizes}
            busy = {rows: await _times(client, name, inputs, rows, cores) for rows in sizes[1:]}
            instances = sum(group.get("count", 1) for group in config["config"]["instance_group"])
            found[name] = _fitted(alone, busy) | {"instances": instances}
    return found


def _fitted(alone: Mapping[int, Sequence[float]], busy: Mapping[int, Sequence[float]]) -> dict[str, Any]:
    """A line through the medians, how times scatter around theirs, and how much longer they take side by side."""
    rows = sorted(alone)
    medians = [statistics.median(alone[count]) for count in rows]
    row_s, request_s = np.polyfit(rows, medians, 1, w=1 / np.array(medians))
    relative = np.concatenate([np.array(alone[count]) / statistics.median(alone[count]) for count in rows])
    together = [statistics.median(busy[count]) / statistics.median(alone[count]) for count in busy]
    return {
        "request_ms": round(1000 * max(0.0, float(request_s)), 3),
        "row_ms": round(1000 * max(0.0, float(row_s)), 3),
        "relative": [round(float(each), 3) for each in np.quantile(relative, np.linspace(0, 1, 21))],
        "slower_side_by_side": round(statistics.mean(together), 3),
        "medians_ms": {str(count): round(1000 * each, 3) for count, each in zip(rows, medians, strict=True)},
    }


async def _times(
    client: InferenceServerClient, name: str, inputs: Sequence[Mapping[str, Any]], rows: int, at_once: int
) -> list[float]:
    """Seconds that Triton took for each of some requests of random rows."""
    random = np.random.default_rng(rows)
    tensors = []
    for each in inputs:
        kind = triton_to_np_dtype(each["data_type"].removeprefix("TYPE_"))
        shape = (rows, *(int(side) for side in each["dims"]))
        values = random.integers(0, 255, shape).astype(kind) if kind == np.uint8 else random.random(shape)
        tensor = InferInput(each["name"], list(shape), np_to_triton_dtype(kind))
        tensor.set_data_from_numpy(values.astype(kind))
        tensors.append(tensor)
    # One small output, so that it is the network's time that counts.
    config = await client.get_model_config(name, as_json=True)
    output = InferRequestedOutput(config["config"]["output"][0]["name"])

    async def ask() -> list[float]:
        times = []
        for _ in range(PROBES):
            began = time.perf_counter()
            await client.infer(name, tensors, outputs=[output])
            times.append(time.perf_counter() - began)
        return times[2:]

    return [each for times in await asyncio.gather(*(ask() for _ in range(at_once))) for each in times]


def _name(run: Mapping[str, Any]) -> tuple[str, float]:
    return run["load"], run["how_much"]


def _least_disturbed(
    state: dict[str, Any],
    kind: str,
    plan: Plan,
    seconds: float,
    how_much: float,
    known: Mapping[tuple[str, float], dict[str, Any]],
) -> dict[str, Any]:
    """Put a load on the stack, again while other work disturbs it; the run that was disturbed least, old or new."""
    how_much = round(how_much, 3)
    best = known.get((kind, how_much))
    for _ in range(TRIES):
        if best is not None and best["others"] <= MOST_OTHERS:
            break
        run = _run(state, kind, plan, seconds, how_much)
        if best is None or run["others"] < best["others"]:
            best = run
    assert best is not None
    return best


def _run(state: dict[str, Any], kind: str, plan: Plan, seconds: float, how_much: float) -> dict[str, Any]:
    """One load on the stack: what came of the calls, what each process spent, and what all others spent meanwhile."""
    processes = by_role(state)
    before = {role: _cpu_s(group) for role, group in processes.items()}
    began, machine_s, own_s = time.monotonic(), _machine_s(), _own_s()
    load = closed_loop if kind == "closed" else open_loop
    put = generate(load, plan, seconds, how_much)
    calls, took_s = put.calls, put.took_s
    spent = {role: _cpu_s(group) - before[role] for role, group in processes.items()}
    others_s = _machine_s() - machine_s - (_own_s() - own_s) - sum(spent.values())
    passed_s = (time.monotonic() - began) * (psutil.cpu_count() or 1)
    done = sum(call.outcome == OK for call in calls)
    return {
        "load": kind,
        "how_much": how_much,
        "seconds": round(took_s, 2),
        "calls": len(calls),
        "throughput": round(put.per_second(), 3),
        "outcomes": dict(Counter(call.outcome for call in calls)),
        "others": round(max(0.0, others_s / passed_s), 4),
        "cpu_ms_per_field": {
            role: round(1000 * cpu_s / max(done, 1), 3)
            for role, cpu_s in (spent | {"load": put.cpu_s}).items()
        },
        "latency_ms": quantiles_ms(calls),
    }


def _machine_s() -> float:
    """Processor seconds that this machine has spent, or was kept from spending by its host."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq + times.steal)


def _own_s() -> float:
    """Processor seconds of this process and of those that it has waited for, the load among them."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def quantiles_ms(calls: Sequence[Call]) -> dict[str, float]:
    """Latencies of the answered calls."""
    times = np.array([1000 * call.seconds for call in calls if call.outcome == OK])
    if not len(times):
        return {}
    found = {f"p{share}": round(float(np.percentile(times, share)), 2) for share in (10, 50, 90, 95, 99)}
    return found | {"mean": round(float(times.mean()), 2)}


def by_role(state: dict[str, Any]) -> dict[str, list[psutil.Process]]:
    """The stack's processes by what they do for a field."""
    services = {service["pid"]: name for name, service in state["services"].items()}
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.Process(state["pid"]).children(recursive=True):
        found.setdefault(services.get(process.pid) or _role(process), []).append(process)
    return found


def _role(process: psutil.Process) -> str:
    words = " ".join(process.cmdline())
    if "tritonserver" in words.split(" ", 1)[0]:
        return "tritonserver"
    if "decoder_process" in words:
        return "decoders"
    return "networks" if "python_backend_stub" in words else "other"


def _cpu_s(group: Sequence[psutil.Process]) -> float:
    return float(sum(sum(process.cpu_times()[:2]) for process in group))
