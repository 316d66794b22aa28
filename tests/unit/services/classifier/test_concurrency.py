"""Several things at once, without losing their order, their bound or their errors."""

import asyncio
from contextlib import aclosing

import pytest

from services.classifier.concurrency import in_order, together


async def each(*items):
    for item in items:
        yield item


class Gate:
    """Work that begins at once and ends when the test says so."""

    def __init__(self):
        self.begun = []
        self.cancelled = []
        self._ends = {}

    def _end(self, item):
        return self._ends.setdefault(item, asyncio.get_running_loop().create_future())

    def finish(self, item, error=None):
        self._end(item).set_exception(error) if error else self._end(item).set_result(None)

    async def work(self, item):
        self.begun.append(item)
        try:
            await self._end(item)
        except asyncio.CancelledError:
            self.cancelled.append(item)
            raise
        return f"answer {item}"


async def settle():
    """Let everything run that can run without the test's doing."""
    for _ in range(20):
        await asyncio.sleep(0)


@pytest.fixture
def gate():
    return Gate()


async def test_results_keep_the_order_of_the_requests_whatever_ends_first(gate):
    for item in (3, 2, 1):
        gate.finish(item)
    assert [r async for r in in_order(each(1, 2, 3), gate.work, at_once=3)] == [
        "answer 1",
        "answer 2",
        "answer 3",
    ]

    late_first = Gate()
    results = in_order(each(1, 2), late_first.work, at_once=2)
    first = asyncio.ensure_future(anext(results))
    late_first.finish(2)
    await settle()
    assert not first.done()
    late_first.finish(1)
    assert await first == "answer 1"
    assert await anext(results) == "answer 2"


async def test_no_more_than_the_bound_are_under_way(gate):
    async with aclosing(in_order(each(*range(10)), gate.work, at_once=3)) as results:
        first = asyncio.ensure_future(anext(results))
        await settle()
        assert gate.begun == [0, 1, 2]
        gate.finish(0)
        await first
        assert len(gate.begun) <= 4


async def test_a_reader_that_does_not_read_stops_the_requests(gate):
    taken = []

    async def requests():
        for item in range(100):
            taken.append(item)
            gate.finish(item)
            yield item

    async with aclosing(in_order(requests(), gate.work, at_once=3)) as results:
        await anext(results)
        await settle()
        assert len(taken) <= 4
        await anext(results)
        await settle()
        assert len(taken) <= 5


async def test_a_failure_is_raised_in_its_turn_and_cancels_the_rest(gate):
    results = in_order(each(1, 2, 3), gate.work, at_once=3)
    gate.finish(2, ValueError("two"))
    first = asyncio.ensure_future(anext(results))
    await settle()
    gate.finish(1)
    assert await first == "answer 1"
    with pytest.raises(ValueError, match="two"):
        await anext(results)
    assert gate.cancelled == [3]


async def test_what_the_requests_raise_is_raised_after_the_results_before_it(gate):
    async def broken():
        yield 1
        raise ConnectionError("the caller is gone")

    gate.finish(1)
    results = in_order(broken(), gate.work, at_once=4)
    assert await anext(results) == "answer 1"
    with pytest.raises(ConnectionError):
        await anext(results)


@pytest.mark.parametrize("end", ["cancel", "close"])
async def test_an_end_in_the_middle_cancels_what_is_under_way(gate, end):
    async def endless():
        for item in range(2):
            yield item
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    gate.finish(0)
    results = in_order(endless(), gate.work, at_once=4)
    await anext(results)
    if end == "cancel":
        reading = asyncio.ensure_future(anext(results))
        await settle()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    else:
        await settle()
        await results.aclose()
    assert gate.cancelled == [1]
    assert asyncio.all_tasks() == before


async def test_no_requests_give_no_results(gate):
    assert [r async for r in in_order(each(), gate.work, at_once=2)] == []


async def test_together_keeps_the_order(gate):
    gate.finish(2)
    both = asyncio.ensure_future(together([gate.work(1), gate.work(2)]))
    await settle()
    gate.finish(1)
    assert await both == ["answer 1", "answer 2"]


async def test_together_raises_the_failure_itself_and_cancels_the_rest(gate):
    both = asyncio.ensure_future(together([gate.work(1), gate.work(2)]))
    await settle()
    gate.finish(2, KeyError("two"))
    with pytest.raises(KeyError):
        await both
    assert gate.cancelled == [1]
