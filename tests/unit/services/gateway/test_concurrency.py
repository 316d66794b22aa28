"""Tasks that fail, and requests that are answered in their order."""

import asyncio

import pytest

from hemaserve.errors import Unavailable
from services.gateway.in_order import answer_in_order
from services.gateway.relay import relay
from services.runtime.tasks import task_group


async def fail(error: Exception) -> None:
    raise error


async def test_a_group_raises_the_failure_itself():
    with pytest.raises(KeyError):
        async with task_group() as group:
            group.create_task(fail(KeyError("one")))


async def test_among_several_failures_the_one_that_may_be_told_wins():
    async def fail_together(both: asyncio.Barrier, error: Exception) -> None:
        await both.wait()
        raise error

    async def work() -> None:
        both = asyncio.Barrier(2)
        async with task_group() as group:
            group.create_task(fail_together(both, KeyError("one")))
            group.create_task(fail_together(both, Unavailable("two")))

    with pytest.raises(Unavailable):
        await work()


async def test_a_group_within_a_group_raises_plainly_too_and_cancels_the_others():
    cancelled = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def work() -> None:
        async with task_group() as outer, task_group() as inner:
            outer.create_task(wait())
            await asyncio.sleep(0)
            inner.create_task(fail(Unavailable("gone")))

    with pytest.raises(Unavailable):
        await work()
    assert cancelled.is_set()


async def test_cancelling_a_group_is_cancelling():
    async def work() -> None:
        async with task_group() as group:
            group.create_task(asyncio.Event().wait())

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def numbers(count: int):
    for number in range(count):
        yield number


async def test_answers_keep_the_order_of_requests_however_long_each_takes():
    first_may_end, sent = asyncio.Event(), []

    async def answer(number: int) -> int:
        if number == 0:
            await first_may_end.wait()
        if number == 2:
            first_may_end.set()
        return number

    async def send(number: int) -> None:
        sent.append(number)

    await answer_in_order(numbers(6), answer, send, at_once=3)
    assert sent == list(range(6))


@pytest.mark.parametrize("at_once", [1, 2, 5])
async def test_a_request_keeps_its_place_until_its_answer_is_sent(at_once):
    held, most = 0, 0

    async def answer(number: int) -> int:
        nonlocal held, most
        held += 1
        most = max(most, held)
        return number

    async def send(_: int) -> None:
        nonlocal held
        await asyncio.sleep(0)
        held -= 1

    await answer_in_order(numbers(20), answer, send, at_once=at_once)
    assert (held, most) == (0, at_once)


async def test_the_first_error_ends_it_and_cancels_the_rest():
    ended = []

    async def answer(number: int) -> int:
        if number == 0:
            raise Unavailable("gone")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(number)
        return number

    async def send(_: int) -> None:
        raise AssertionError("nothing was answered")

    with pytest.raises(Unavailable):
        await answer_in_order(numbers(3), answer, send, at_once=3)
    assert set(ended) <= {1, 2}


class Rpc:
    """As much of a servicer's context as the relay uses."""

    def add_done_callback(self, callback) -> None:
        self.end = lambda: callback(self)


async def test_what_is_relayed_never_runs_ahead_of_the_one_who_takes_it():
    begun = []

    async def produce(send) -> None:
        for number in range(3):
            begun.append(number)
            await send(number)

    taken = []
    async for number in relay(produce, Rpc()):
        taken.append(number)
        assert begun == taken
    assert taken == [0, 1, 2]


async def test_the_producers_error_comes_out_after_what_it_sent():
    async def produce(send) -> None:
        await send(1)
        raise Unavailable("gone")

    stream = relay(produce, Rpc())
    assert await anext(stream) == 1
    with pytest.raises(Unavailable):
        await anext(stream)


async def test_production_ends_with_the_rpc_even_when_nobody_takes_anything_more():
    rpc, ended = Rpc(), asyncio.Event()

    async def produce(send) -> None:
        try:
            await send(1)
            await send(2)
        finally:
            ended.set()

    stream = relay(produce, rpc)
    await anext(stream)
    rpc.end()
    async with asyncio.timeout(5):
        await ended.wait()
