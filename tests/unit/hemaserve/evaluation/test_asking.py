"""Many questions at once: bounded, in order, and stoppable."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest

from hemaserve.client import HemaServeError, InternalError, InvalidArgumentError, ResourceExhaustedError
from hemaserve.evaluation.asking import UnusableImage, ask_all, read_image
from hemaserve.results import Failure


@dataclass(frozen=True)
class Item:
    number: int

    @property
    def path(self) -> Path:
        return Path(f"{self.number}.png")


ITEMS = [Item(number) for number in range(20)]


def refusal(reason: str, error: type[HemaServeError], retry_after_s: float | None = None) -> HemaServeError:
    return error(Failure("CODE", reason, f"refused: {reason}", retry_after_s=retry_after_s))


async def test_answers_come_in_the_order_of_the_items_whatever_finishes_first():
    async def ask(item: Item) -> int:
        for _ in range(20 - item.number):
            await asyncio.sleep(0)
        return item.number

    answers = await ask_all(ITEMS, ask, in_flight=7)
    assert answers.answered == [(item, item.number) for item in ITEMS]
    assert not answers.partial
    assert answers.error is None
    assert answers.seconds > 0


async def test_no_more_than_the_bound_is_in_flight_and_the_bound_is_used():
    at_once, most = 0, 0

    async def ask(item: Item) -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.001)
        at_once -= 1

    await ask_all(ITEMS, ask, in_flight=4)
    assert most == 4


async def test_progress_counts_every_item_the_failed_ones_too():
    seen = []

    async def ask(item: Item) -> None:
        if item.number % 2:
            raise UnusableImage("no good")

    answers = await ask_all(ITEMS, ask, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 20) for done in range(1, 21)]
    assert [item.path.name for item in answers.failed] == [f"{n}.png" for n in range(1, 20, 2)]
    assert {item.reason for item in answers.failed} == {"no good"}


async def test_an_image_that_the_services_refuse_is_noted_and_the_rest_goes_on():
    async def ask(item: Item) -> None:
        if item.number == 3:
            raise refusal("IMAGE_DAMAGED", InvalidArgumentError)

    answers = await ask_all(ITEMS, ask)
    assert [(item.path.name, item.reason) for item in answers.failed] == [("3.png", "refused: IMAGE_DAMAGED")]
    assert len(answers.answered) == 19
    assert not answers.partial


async def test_any_other_error_ends_the_asking_and_keeps_what_was_answered():
    async def ask(item: Item) -> None:
        if item.number == 5:
            raise refusal("INTERNAL", InternalError)

    answers = await ask_all(ITEMS, ask, in_flight=1)
    assert [item.number for item, _ in answers.answered] == [0, 1, 2, 3, 4]
    assert answers.partial
    assert isinstance(answers.error, InternalError)


async def test_a_defect_of_ours_is_not_swallowed():
    async def ask(item: Item) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await ask_all(ITEMS, ask)


async def test_stopping_keeps_what_was_answered_and_drops_what_is_under_way():
    stop = asyncio.Event()
    dropped = []

    async def ask(item: Item) -> None:
        if item.number >= 3:
            stop.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                dropped.append(item.number)
                raise

    answers = await ask_all(ITEMS, ask, in_flight=2, stop=stop)
    assert [item.number for item, _ in answers.answered] == [0, 1, 2]
    assert answers.partial
    assert dropped
    assert answers.failed == []


async def test_cancelling_reaches_the_questions_and_goes_on_to_the_caller():
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def ask(item: Item) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    task = asyncio.create_task(ask_all(ITEMS, ask))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancelled.is_set()


async def test_a_busy_system_is_asked_again_when_it_says():
    refusals = 3

    async def ask(item: Item) -> int:
        nonlocal refusals
        if refusals:
            refusals -= 1
            raise refusal("QUEUE_FULL", ResourceExhaustedError, retry_after_s=0.001)
        return item.number

    answers = await ask_all(ITEMS, ask, in_flight=2)
    assert len(answers.answered) == 20


async def test_a_refusal_for_good_is_about_the_image_and_is_not_repeated():
    asked = []

    async def ask(item: Item) -> None:
        asked.append(item.number)
        if item.number == 3:
            raise refusal("MESSAGE_TOO_LARGE", ResourceExhaustedError)

    answers = await ask_all(ITEMS, ask)
    assert [item.path.name for item in answers.failed] == ["3.png"]
    assert sorted(asked) == list(range(20))
    assert answers.error is None


async def test_nothing_to_ask_is_nothing_answered():
    async def ask(item: Item) -> None:
        raise AssertionError

    answers = await ask_all([], ask)
    assert answers.answered == []
    assert not answers.partial


async def test_a_file_that_is_gone_is_an_unusable_image(tmp_path):
    with pytest.raises(UnusableImage, match="No such file"):
        await read_image(tmp_path / "gone.png")
