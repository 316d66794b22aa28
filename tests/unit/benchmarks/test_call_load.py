"""Load: what is counted, and from when."""

import asyncio
import time

import pytest

from benchmarks import call_load
from benchmarks.call_load import Call, Load, Plan, _Asking, closed_loop, routine_at_random
from benchmarks.peers.callers import GATEWAY, OK, REFUSED, Target


class Server:
    """Answers one call at a time, each after some seconds."""

    def __init__(self, seconds: float, outcome: str = OK) -> None:
        self.seconds = seconds
        self.outcome = outcome
        self.images: list[bytes] = []
        self._free = asyncio.Lock()

    async def call(self, image: bytes, priority: str) -> str:
        self.images.append(image)
        async with self._free:
            await asyncio.sleep(self.seconds)
        return self.outcome


def calls_of(asking: _Asking) -> list[Call]:
    return [Call(*row) for row in asking.calls]


async def test_a_closed_loop_has_so_many_calls_under_way_and_takes_images_in_turn():
    server = Server(0.02)
    asking = _Asking([server], (b"a", b"b"))
    await closed_loop(asking, 0.2, 2)
    assert set(server.images[::2]) == {b"a"}
    assert set(server.images[1::2]) == {b"b"}
    assert all(call.outcome == OK for call in calls_of(asking))


async def test_at_random_a_server_that_cannot_keep_up_is_told_by_latency():
    # 50 calls a second come to a server that answers 25: who waits for answers before asking again would not see it.
    server = Server(0.04)
    asking = _Asking([server], (b"a",))
    await routine_at_random(asking, 1.0, 50)
    longest = max(call.seconds for call in calls_of(asking))
    assert longest > 0.5
    assert len(asking.calls) == pytest.approx(50, abs=20)


async def test_a_generator_that_falls_behind_counts_from_when_calls_were_due():
    server = Server(0.0)
    asking = _Asking([server], (b"a",))

    async def stalls() -> None:
        await asyncio.sleep(0.05)
        time.sleep(0.4)  # noqa: ASYNC251 - that is the point

    await asyncio.gather(routine_at_random(asking, 0.6, 100), stalls())
    assert max(call.seconds for call in calls_of(asking)) > 0.3
    assert max(call.late_s for call in calls_of(asking)) > 0.3


async def test_calls_at_random_are_the_same_each_time():
    async def times() -> list[float]:
        asking = _Asking([Server(0.0)], (b"a",))
        await routine_at_random(asking, 0.3, 100)
        return sorted(call.ended_s - call.seconds for call in calls_of(asking))

    due = await times()
    assert len(due) > 10
    assert due == pytest.approx(await times(), abs=1e-6)


def test_only_good_answers_within_the_time_count():
    def call(outcome: str, ended_s: float) -> Call:
        return Call("routine", outcome, 0.5, ended_s)

    load = Load([call(OK, 0.5), call(OK, 1.5), call(REFUSED, 1.6), call(OK, 2.5)], took_s=2.0, cpu_s=0.1)
    assert load.per_second() == 1.0
    assert load.per_second(lead_s=1.0) == 1.0
    assert load.seconds() == [0.5, 0.5, 0.5]
    assert load.seconds("stat") == []


def test_load_runs_in_a_process_of_its_own_and_a_server_that_is_away_is_told():
    plan = Plan(Target(GATEWAY, "127.0.0.1:1", deadline_s=1.0), (b"a",))
    load = call_load.generate(closed_loop, plan, 0.3, 2)
    assert {call.outcome for call in load.calls} == {"failed: UNAVAILABLE"}
    assert load.cpu_s > 0
