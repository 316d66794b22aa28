import asyncio

import pytest

from hemaserve.errors import NotFound
from services.runtime.tasks import Shared, foremost, task_group


def test_a_domain_error_stands_for_its_group_however_deep_it_lies():
    told = NotFound("no such model")
    group = BaseExceptionGroup("", [ValueError("a defect"), ExceptionGroup("", [KeyError("x"), told])])

    assert foremost(group) is told


def test_without_a_domain_error_the_first_failure_stands_for_its_group():
    first = ValueError("a defect")

    assert foremost(ExceptionGroup("", [ExceptionGroup("", [first]), KeyError("x")])) is first


async def test_a_failing_task_cancels_the_others_and_is_raised_itself():
    cancelled = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async def fail() -> None:
        raise NotFound("no such model")

    async def both() -> None:
        async with task_group() as group:
            group.create_task(wait())
            await asyncio.sleep(0)
            group.create_task(fail())

    with pytest.raises(NotFound):
        await both()

    assert cancelled.is_set()


async def test_who_asks_while_another_waits_shares_its_answer_and_who_comes_later_does_not():
    runs = []

    async def run() -> int:
        runs.append(asyncio.get_running_loop().create_future())
        number = len(runs)
        await runs[-1]
        return number

    shared: Shared[str, int] = Shared()
    first, second, other = (asyncio.create_task(shared.run(key, run)) for key in ("a", "a", "b"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    first.cancel()  # the run goes on for the second
    for future in runs:
        future.set_result(None)
    assert (await second, await other) == (1, 2)
    assert first.cancelled()
    third = asyncio.create_task(shared.run("a", run))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    runs[-1].set_exception(NotFound("gone"))
    with pytest.raises(NotFound):
        await third
