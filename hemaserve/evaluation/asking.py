"""Keeping the services busy: many requests in flight, a bound on them, and a way to stop early with what is there."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

from hemaserve.client.errors import HemaServeError, ResourceExhaustedError

IN_FLIGHT: Final = 16
"""Requests under way at once by default: enough to fill batches on a small machine, and below every queue's bound."""

TIMEOUT_S: Final = 120.0
"""For one request, which may wait behind `IN_FLIGHT` others and behind work of a higher priority."""

_MOST_REFUSALS: Final = 60

OnProgress = Callable[[int, int], None]
"""Told how many items are done, of how many."""


class HasPath(Protocol):
    """Something to ask about that lies in a file."""

    @property
    def path(self) -> Path: ...


Item = TypeVar("Item", bound=HasPath)
Answer = TypeVar("Answer")
Labelled = TypeVar("Labelled")


@dataclass(frozen=True, slots=True)
class FailedImage:
    """An image that could not be evaluated, and why, in words for people."""

    path: Path
    reason: str


class UnusableImage(Exception):
    """The image at hand cannot be evaluated; the others can. Its text says why."""


@dataclass(slots=True)
class Answers(Generic[Item, Answer]):
    """What came back, in the order of the items.

    Attributes:
        answered: items with their answers.
        failed: items whose image cannot be evaluated, because the services or the disk refuse it.
        partial: items were left unasked, because somebody asked to stop or because of `error`.
        error: what made going on useless, e.g. that the stack is gone.
        seconds: from the first question to the last answer.
    """

    answered: list[tuple[Item, Answer]] = field(default_factory=list)
    failed: list[FailedImage] = field(default_factory=list)
    partial: bool = False
    error: HemaServeError | None = None
    seconds: float = 0.0


async def ask_all(
    items: Sequence[Item],
    ask: Callable[[Item], Awaitable[Answer]],
    *,
    in_flight: int = IN_FLIGHT,
    stop: asyncio.Event | None = None,
    on_progress: OnProgress = lambda _done, _total: None,
) -> Answers[Item, Answer]:
    """Ask about every item, at most `in_flight` at once.

    An image that cannot be read is noted and the rest goes on. Any other error of the services ends the asking, and
    what was answered until then is kept.

    Args:
        ask: may raise `UnusableImage` or `HemaServeError`.
        stop: set it to end early; questions under way are dropped.
        on_progress: told after each item, failed ones included, how many are done of how many.
    """
    answers: Answers[Item, Answer] = Answers()
    started = time.perf_counter()
    outcomes: dict[int, Answer | FailedImage] = {}
    waiting = iter(enumerate(items))

    async def work() -> None:
        # All workers draw from one iterator, so each item is taken once.
        for index, item in waiting:
            outcomes[index] = await _outcome(item, ask)
            on_progress(len(outcomes), len(items))

    workers = [asyncio.create_task(work()) for _ in range(max(1, min(in_flight, len(items))))]
    stopper = asyncio.create_task((stop or asyncio.Event()).wait())
    everything = asyncio.gather(*workers)
    try:
        ends: set[asyncio.Future[Any]] = {everything, stopper}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if everything.done() and (error := everything.exception()) is not None:
            if not isinstance(error, HemaServeError):
                raise error
            answers.error = error
    finally:
        stopper.cancel()
        for worker in workers:
            worker.cancel()
        await asyncio.gather(everything, *workers, stopper, return_exceptions=True)
    answers.seconds = time.perf_counter() - started
    answers.partial = len(outcomes) < len(items)
    for index in sorted(outcomes):
        outcome = outcomes[index]
        if isinstance(outcome, FailedImage):
            answers.failed.append(outcome)
        else:
            answers.answered.append((items[index], outcome))
    return answers


async def _outcome(item: Item, ask: Callable[[Item], Awaitable[Answer]]) -> Answer | FailedImage:
    try:
        return await _patiently(item, ask)
    except UnusableImage as error:
        return FailedImage(item.path, str(error))
    except HemaServeError as error:
        if _is_about_the_image(error):
            return FailedImage(item.path, str(error))
        raise


def _is_about_the_image(error: HemaServeError) -> bool:
    # What is too much and will not be less later is this message, e.g. a file larger than gRPC may send.
    too_large = isinstance(error, ResourceExhaustedError) and error.retry_after_s is None
    return too_large or error.reason.startswith("IMAGE_")


async def _patiently(item: Item, ask: Callable[[Item], Awaitable[Answer]]) -> Answer:
    """An evaluation is in no hurry: when the system is busy, it comes back as often as it is told to."""
    for _ in range(_MOST_REFUSALS):
        try:
            return await ask(item)
        except ResourceExhaustedError as error:
            if error.retry_after_s is None:
                raise
            await asyncio.sleep(error.retry_after_s)
    return await ask(item)


def spread_by(items: Sequence[Labelled], label: Callable[[Labelled], Hashable]) -> list[Labelled]:
    """The items in an order in which every part holds each label in about its share of the whole."""
    count = Counter(map(label, items))
    seen: Counter[Hashable] = Counter()
    places = []
    for item in items:
        places.append((seen[label(item)] + 0.5) / count[label(item)])
        seen[label(item)] += 1
    return [items[index] for index in sorted(range(len(items)), key=lambda index: places[index])]


async def read_image(path: Path) -> bytes:
    """The image file's bytes.

    Raises:
        UnusableImage: the file cannot be read.
    """
    try:
        return await asyncio.to_thread(path.read_bytes)
    except OSError as error:
        raise UnusableImage(error.strerror or "the file cannot be read") from None
