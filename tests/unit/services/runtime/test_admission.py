"""Who gets in, in which order, and who is told at once that it will not: in virtual time."""

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import generate_latest

from hemaserve.errors import DeadlineExceeded, InvalidArgument, ResourceExhausted
from hemaserve.results import Priority
from services.runtime.admission import Admission, Capacity
from services.runtime.admission_metrics import AdmissionMetrics
from services.runtime.caller import Caller, current_caller
from services.runtime.remote import Deadline

from .virtual_time import run

STAT, ROUTINE, BATCH = Priority.STAT, Priority.ROUTINE, Priority.BATCH


def admission(size=1, waiting=100, kept_for_stat=0, metrics=None, beside_stat=None):
    clock = asyncio.get_running_loop().time
    capacity = Capacity("fields", size, waiting, kept_for_stat, beside_stat)
    return Admission(capacity, metrics, clock=clock)


@dataclass
class Log:
    """What became of whom."""

    admission: Admission
    begun: list[str] = field(default_factory=list)
    ended: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    at_work: int = 0
    most: int = 0

    async def work(self, name, *, client="a", priority=ROUTINE, cost=1, seconds=1.0, timeout_s=None, **how):
        current_caller.set(Caller(client, priority))
        deadline = None if timeout_s is None else Deadline(timeout_s)
        try:
            async with self.admission.admitted(cost, deadline=deadline, **how):
                self.begun.append(name)
                self.at_work += cost
                self.most = max(self.most, self.at_work)
                try:
                    await asyncio.sleep(seconds)
                finally:
                    self.at_work -= cost
            self.ended[name].append("done")
        except ResourceExhausted as error:
            self.ended[name].append(error.reason)
        except DeadlineExceeded:
            self.ended[name].append("late")
        except asyncio.CancelledError:
            self.ended[name].append("cancelled")
            raise

    def start(self, name, **how):
        return asyncio.create_task(self.work(name, **how))


def scenario(test):
    """A test in virtual time."""

    def in_virtual_time(*args, **kwargs):
        run(test(*args, **kwargs))

    in_virtual_time.__name__ = test.__name__
    in_virtual_time.__doc__ = test.__doc__
    return in_virtual_time


async def settle():
    for _ in range(5):
        await asyncio.sleep(0)


@scenario
async def test_the_urgent_come_first_however_late_they_came():
    log = Log(admission())
    first = log.start("first", priority=BATCH)
    await settle()
    others = [
        log.start(name, priority=priority)
        for name, priority in (("batch", BATCH), ("routine", ROUTINE), ("stat", STAT))
    ]
    await asyncio.gather(first, *others)
    assert log.begun == ["first", "stat", "routine", "batch"]


@scenario
async def test_a_client_with_much_to_do_does_not_hold_up_another():
    log = Log(admission())
    flood = [log.start(f"flood {number}", client="flood") for number in range(10)]
    await settle()
    other = [log.start(f"other {number}", client="other") for number in range(3)]
    await asyncio.gather(*flood, *other)
    assert log.begun.index("other 2") <= 6
    assert [name for name in log.begun if name.startswith("flood")] == [f"flood {n}" for n in range(10)]


@scenario
async def test_shares_are_of_the_capacity_and_not_of_the_calls():
    log = Log(admission(size=4))
    tasks = [log.start(f"big {n}", client="big", cost=4, seconds=1) for n in range(20)]
    tasks += [log.start(f"small {n}", client="small", cost=1, seconds=1) for n in range(80)]
    await asyncio.sleep(10.5)
    done = Counter(name.split()[0] for name in log.begun)
    assert 0.7 < 4 * done["big"] / done["small"] < 1.4
    for task in tasks:
        task.cancel()


@scenario
async def test_beyond_the_queue_the_next_is_refused_at_once_and_told_when_to_come_back():
    log = Log(admission(waiting=2))
    await log.work("measured", seconds=3.0)
    tasks = [log.start(f"{number}", seconds=3.0) for number in range(3)]
    await settle()
    with pytest.raises(ResourceExhausted) as refused:
        async with log.admission.admitted():
            pass
    assert refused.value.reason == "QUEUE_FULL"
    assert refused.value.retry_after_s == pytest.approx(9.0)
    await asyncio.gather(*tasks)
    assert all(outcome == ["done"] for outcome in log.ended.values())


@scenario
async def test_a_full_queue_makes_room_for_the_more_urgent_from_its_far_end():
    log = Log(admission(waiting=3))
    tasks = [log.start(f"batch {number}", priority=BATCH) for number in range(4)]
    await settle()
    tasks.append(log.start("stat", priority=STAT))
    await settle()
    assert log.ended == {"batch 3": ["DISPLACED"]}
    await asyncio.gather(*tasks)
    assert log.begun == ["batch 0", "stat", "batch 1", "batch 2"]


@scenario
async def test_a_client_that_fills_the_queue_makes_room_for_another_of_the_same_priority():
    log = Log(admission(waiting=4))
    tasks = [log.start(f"flood {number}", client="flood") for number in range(5)]
    await settle()
    tasks.append(log.start("other", client="other"))
    await settle()
    assert log.ended == {"flood 4": ["DISPLACED"]}
    await asyncio.gather(*tasks)
    assert "other" in log.begun[:3]


@scenario
async def test_who_could_not_be_done_in_time_is_refused_at_once():
    log = Log(admission())
    await log.work("measured", seconds=2.0)
    tasks = [log.start("at work", seconds=2.0), log.start("waits", seconds=2.0)]
    await settle()
    hopeless = log.start("hopeless", timeout_s=6.5)
    await settle()
    assert log.ended["hopeless"] == ["DEADLINE_UNREACHABLE"]
    in_time = log.start("in time", timeout_s=7.5, seconds=2.0)
    await asyncio.gather(*tasks, hopeless, in_time)
    assert log.ended["in time"] == ["done"]


@scenario
async def test_what_would_be_refused_is_told_before_it_comes_and_changes_nothing():
    metrics = AdmissionMetrics()
    log = Log(admission(waiting=2, metrics=metrics))
    log.admission.check()
    await log.work("measured", priority=BATCH, seconds=3.0)
    tasks = [log.start(f"{number}", priority=BATCH, seconds=3.0) for number in range(3)]
    await settle()
    current_caller.set(Caller("a", BATCH))
    with pytest.raises(ResourceExhausted) as refused:
        log.admission.check()
    assert refused.value.reason == "QUEUE_FULL"
    assert refused.value.retry_after_s == pytest.approx(9.0)
    current_caller.set(Caller("another", STAT))
    log.admission.check()
    with pytest.raises(ResourceExhausted) as refused:
        log.admission.check(deadline=Deadline(5.0))
    assert refused.value.reason == "DEADLINE_UNREACHABLE"
    assert (log.admission.held, log.admission.waiting) == (1, 2)
    said = generate_latest(metrics.registry).decode()
    for priority, reason in (("batch", "QUEUE_FULL"), ("stat", "DEADLINE_UNREACHABLE")):
        assert f'capacity="fields",priority="{priority}",reason="{reason}"}} 1.0' in said
    await asyncio.gather(*tasks)
    assert all(outcome == ["done"] for outcome in log.ended.values())


@scenario
async def test_a_bad_estimate_heals_itself():
    log = Log(admission())
    await log.work("loads a network first", seconds=100.0)
    for number in range(50):
        await log.work(f"{number}", seconds=0.1, timeout_s=1.0)
    assert all(log.ended[f"{number}"] == ["done"] for number in range(50))


@scenario
async def test_nobody_who_is_alone_is_refused_for_its_deadline():
    log = Log(admission(waiting=0))
    await log.work("slow", seconds=100.0)
    await log.work("alone", seconds=0.1, timeout_s=0.2)
    assert log.ended["alone"] == ["done"]


@scenario
async def test_who_waits_patiently_is_never_refused():
    log = Log(admission(waiting=0))
    await asyncio.gather(*(log.work(f"{number}", patient=True, timeout_s=1000) for number in range(50)))
    assert log.begun == [f"{number}" for number in range(50)]


@scenario
async def test_who_is_late_or_cancelled_leaves_its_place_to_others():
    log = Log(admission())
    tasks = [log.start("at work", seconds=10.0)]
    await settle()
    tasks += [log.start("late", timeout_s=1.0), log.start("cancelled"), log.start("next")]
    await asyncio.sleep(2)
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert log.ended == {"at work": ["done"], "late": ["late"], "cancelled": ["cancelled"], "next": ["done"]}
    assert (log.admission.held, log.admission.waiting) == (0, 0)


@scenario
async def test_what_is_cancelled_in_the_moment_of_its_turn_holds_nothing():
    log = Log(admission())
    at_work, unlucky, after = log.start("at work"), log.start("unlucky"), log.start("after")
    await settle()
    at_work.add_done_callback(lambda _: unlucky.cancel())
    await asyncio.gather(at_work, unlucky, after, return_exceptions=True)
    assert log.ended["after"] == ["done"]
    assert log.admission.held == 0


@scenario
async def test_some_of_it_is_kept_for_stat():
    log = Log(admission(size=4, kept_for_stat=1))
    tasks = [log.start(f"routine {number}") for number in range(6)]
    await settle()
    assert log.admission.held == 3
    tasks.append(log.start("stat", priority=STAT))
    await settle()
    assert log.begun[-1] == "stat"
    await asyncio.gather(*tasks)


@scenario
async def test_beside_stat_others_go_on_with_little_until_it_is_done():
    log = Log(admission(size=5, kept_for_stat=1, beside_stat=1))
    tasks = [log.start("stat", priority=STAT, seconds=2.5)]
    await settle()
    tasks += [log.start(f"routine {number}") for number in range(6)]
    await settle()
    assert log.begun == ["stat", "routine 0"]
    await asyncio.sleep(2.4)
    assert log.begun == ["stat", "routine 0", "routine 1", "routine 2"]
    await asyncio.sleep(0.2)
    await settle()
    assert log.begun[4:] == ["routine 3", "routine 4", "routine 5"]
    await asyncio.gather(*tasks)
    assert log.admission.held == 0


@scenario
async def test_who_asks_for_more_than_there_is_gets_all_of_it():
    log = Log(admission(size=10, kept_for_stat=2))
    greedy, other = log.start("greedy", cost=1000, seconds=1), log.start("other")
    await settle()
    assert (log.admission.held, log.begun) == (8, ["greedy"])
    await asyncio.gather(greedy, other)
    assert log.ended == {"greedy": ["done"], "other": ["done"]}


@scenario
async def test_who_asks_for_much_is_not_overtaken_by_those_who_ask_for_little():
    log = Log(admission(size=10))
    tasks = [log.start("first", cost=4, seconds=2), log.start("much", cost=10), log.start("little", cost=1)]
    await asyncio.gather(*tasks)
    assert log.begun == ["first", "much", "little"]


@scenario
async def test_invalid_work_does_not_make_work_seem_quick():
    log = Log(admission())
    await log.work("real", seconds=2.0)
    for _ in range(100):
        with pytest.raises(InvalidArgument):
            async with log.admission.admitted():
                raise InvalidArgument("image", "nonsense", "an image")
    tasks = [log.start("at work", seconds=2.0)]
    await settle()
    await log.work("hopeless", timeout_s=3.0)
    assert log.ended["hopeless"] == ["DEADLINE_UNREACHABLE"]
    await asyncio.gather(*tasks)


@scenario
async def test_the_figures_say_what_happened():
    metrics = AdmissionMetrics()
    log = Log(admission(waiting=1, metrics=metrics))
    tasks = [log.start(f"{number}", priority=BATCH) for number in range(3)]
    await settle()
    said = generate_latest(metrics.registry).decode()
    assert 'hemaserve_admission_held{capacity="fields"} 1.0' in said
    assert 'hemaserve_admission_waiting{capacity="fields",priority="batch"} 1.0' in said
    refused = 'hemaserve_admission_refused_total{capacity="fields",priority="batch",reason="QUEUE_FULL"} 1.0'
    assert refused in said
    await asyncio.gather(*tasks)
    said = generate_latest(metrics.registry).decode()
    assert 'hemaserve_admission_wait_seconds_count{capacity="fields",priority="batch"} 2.0' in said


_MOVES = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from(Priority),
        st.integers(1, 6),  # cost
        st.sampled_from([0.0, 0.3, 1.0, 2.5]),  # how long it works
        st.sampled_from([None, 0.5, 2.0, 8.0]),  # its deadline
        st.sampled_from([None, 0.0, 0.4, 1.7]),  # when it is cancelled
        st.sampled_from([0.0, 0.0, 0.2, 1.0]),  # when the next one comes
        st.booleans(),  # patient
    ),
    max_size=40,
)


@given(_MOVES, st.integers(1, 5), st.integers(0, 8), st.integers(0, 2))
@settings(max_examples=100, deadline=None)
def test_whatever_comes_the_bounds_hold_and_everything_ends_exactly_once(moves, size, waiting, kept):
    async def play():
        log = Log(admission(size=size, waiting=waiting, kept_for_stat=kept))
        loop, tasks = asyncio.get_running_loop(), []
        for number, (client, priority, cost, seconds, timeout_s, cancel_s, pause_s, patient) in enumerate(
            moves
        ):
            tasks.append(
                log.start(
                    f"{number}",
                    client=client,
                    priority=priority,
                    cost=min(cost, log.admission.capacity.open_to(priority)),
                    seconds=seconds,
                    timeout_s=timeout_s,
                    patient=patient,
                )
            )
            if cancel_s is not None:
                loop.call_later(cancel_s, tasks[-1].cancel)
            await asyncio.sleep(pause_s)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert log.most <= size
        # A task that was cancelled before it began has not even tried.
        assert all(len(outcomes) == 1 for outcomes in log.ended.values())
        untried = sum(f"{number}" not in log.ended for number in range(len(moves)))
        assert untried <= sum(move[5] == 0.0 for move in moves)
        assert (log.admission.held, log.admission.waiting) == (0, 0)
        # Nothing was forgotten: all of it is there for the next one.
        async with asyncio.timeout(0.1):
            async with log.admission.admitted(size):
                pass

    run(play())


@given(_MOVES, st.integers(1, 5), st.integers(0, 8), st.integers(0, 2))
@settings(max_examples=100, deadline=None)
def test_who_is_told_beforehand_is_told_what_it_would_be_told(moves, size, waiting, kept):
    async def play():
        log = Log(admission(size=size, waiting=waiting, kept_for_stat=kept))
        tasks = []
        for number, (client, priority, _, seconds, about_s, _, pause_s, _) in enumerate(moves):
            current_caller.set(Caller(client, priority))
            # No deadline may lie on the edge of an estimate, and no work end in the moment in which other work comes.
            timeout_s = about_s and 1.0371 * about_s
            told = None
            try:
                log.admission.check(deadline=None if timeout_s is None else Deadline(timeout_s))
            except ResourceExhausted as error:
                told = error.reason
            name = f"{number}"
            tasks.append(
                log.start(
                    name, client=client, priority=priority, seconds=seconds + 0.0137, timeout_s=timeout_s
                )
            )
            await settle()
            refused = [why for why in log.ended.get(name, ()) if why not in ("done", "late")]
            assert refused == ([] if told is None else [told])
            await asyncio.sleep(1.0173 * pause_s)
        await asyncio.gather(*tasks)

    run(play())


@given(st.lists(st.integers(1, 4), min_size=2, max_size=4), st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_clients_that_always_want_more_get_equal_shares_whatever_the_size_of_their_calls(costs, size):
    async def play():
        scheduler = admission(size=size)
        served: Counter[int] = Counter()

        async def greedy(number, cost):
            current_caller.set(Caller(f"client {number}", ROUTINE))
            while True:
                async with scheduler.admitted(cost):
                    served[number] += min(cost, size)
                    await asyncio.sleep(1)

        async with asyncio.TaskGroup() as group:
            # Three at a time each, so that a client always has one waiting.
            tasks = [group.create_task(greedy(n, cost)) for n, cost in enumerate(costs) for _ in range(3)]
            await asyncio.sleep(200)
            for task in tasks:
                task.cancel()
        # A client cannot have more at work than its three calls hold, so a share may be all that it can take.
        shares = [served[number] for number in range(len(costs))]
        able = [3 * min(cost, size) for cost in costs]
        fair = [share for share, most in zip(shares, able, strict=True) if most >= size]
        assert max(fair, default=0) - min(fair, default=0) <= 0.1 * max(shares) + 4

    run(play())
