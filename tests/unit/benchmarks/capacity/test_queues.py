"""The simulation against what queueing theory knows."""

import asyncio
import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.autoscaling.cluster import lindley
from benchmarks.capacity.calls import closed_loop, open_loop
from benchmarks.capacity.cores import Cores, Threads
from benchmarks.capacity.profile import load_measured, profile_of
from benchmarks.capacity.stack import Layout
from benchmarks.capacity.virtual_time import Stalled, now_s, simulate
from services.runtime.admission import Admission, Capacity


def mean_stay(rate: float, service, *, threads: int = 1, cores: int = 1, count: int = 20_000) -> float:
    """Mean time in a queue before some threads, simulated."""

    async def main() -> float:
        machine, chance, total = Cores(cores), random.Random(4), 0.0
        served = Threads(machine, threads)

        async def one() -> None:
            nonlocal total
            began = now_s()
            await served.run(service(chance))
            total += now_s() - began

        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                await asyncio.sleep(chance.expovariate(rate))
                group.create_task(one())
        return total / count

    return simulate(main())


def test_one_server_with_exponential_times_is_m_m_1():
    assert mean_stay(0.7, lambda chance: chance.expovariate(1)) == pytest.approx(1 / 0.3, rel=0.1)


def test_one_server_with_even_times_is_m_d_1():
    assert mean_stay(0.7, lambda _: 1.0) == pytest.approx(1 + 0.7 / (2 * 0.3), rel=0.07)


def test_several_servers_are_m_m_c():
    offered, servers = 1.4, 2
    erlang = offered**servers / math.factorial(servers) / (1 - offered / servers)
    waits = erlang / (1 + offered + erlang)
    found = mean_stay(offered, lambda chance: chance.expovariate(1), threads=servers, cores=servers)
    assert found == pytest.approx(1 + waits / (servers - offered), rel=0.1)


def test_shared_cores_are_insensitive_to_the_distribution():
    # M/G/1 with processor sharing: s / (1 - load), whatever the distribution.
    assert mean_stay(0.6, lambda _: 1.0, threads=10_000) == pytest.approx(1 / 0.4, rel=0.1)


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0.01, 3)), min_size=1, max_size=30), st.integers(1, 4))
@settings(deadline=None, max_examples=60)
def test_cores_do_all_work_and_no_more(work, count):
    async def main() -> tuple[float, float]:
        cores = Cores(count)

        async def one(after_s: float, cpu_s: float) -> None:
            await asyncio.sleep(after_s)
            began = now_s()
            await cores.run(cpu_s)
            assert now_s() - began >= cpu_s - 1e-6

        await asyncio.gather(*(one(*each) for each in work))
        return cores.busy_s, now_s()

    busy_s, ended_s = simulate(main())
    assert busy_s == pytest.approx(sum(cpu_s for _, cpu_s in work))
    assert busy_s <= count * ended_s + 1e-6


def test_the_services_own_scheduler_runs_on_virtual_time():
    async def main() -> float:
        admission = Admission(Capacity("fields", 1, waiting=9), clock=now_s)

        async def one() -> None:
            async with admission.admitted():
                await asyncio.sleep(10)

        await asyncio.gather(*(one() for _ in range(5)))
        return now_s()

    assert simulate(main()) == pytest.approx(50)


def test_waiting_for_nobody_is_an_error():
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Stalled):
        simulate(main())


@given(st.lists(st.tuples(st.floats(0, 3), st.floats(0.01, 2)), min_size=1, max_size=40), st.integers(1, 5))
@settings(deadline=None)
def test_whole_windows_are_what_one_by_one_gives(fields, servers):
    arrivals = np.cumsum([gap for gap, _ in fields])
    took = np.array([seconds for _, seconds in fields])
    done, free = lindley(arrivals, took, np.zeros(servers))
    expected = np.zeros(servers)
    for number, (came, seconds) in enumerate(zip(arrivals, took, strict=True)):
        server = number % servers
        expected[server] = max(came, expected[server]) + seconds
        assert done[number] == pytest.approx(expected[server])
    assert free == pytest.approx(expected)


def test_a_simulated_stack_answers_what_it_can_and_takes_longer_under_load(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[4])
    profile, machine = profile_of(load_measured()), Layout(shared_cores=2)
    alone = closed_loop(profile, machine, 1, 10.0)
    crowd = closed_loop(profile, machine, 8, 10.0)
    assert crowd.throughput > alone.throughput > 0
    assert crowd.latency_ms(50) > alone.latency_ms(50)
    calm = open_loop(profile, machine, 4.0, 20.0, warm_up_s=0.0)
    assert len(calm.calls) == calm.throughput * calm.seconds == pytest.approx(80, abs=30)
