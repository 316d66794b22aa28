"""What a peer and our gateway are both given to do, and how long it took."""

import asyncio
import io
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from PIL import Image

from benchmarks.call_load import Call, Kind, Load, closed_loop, open_loop
from benchmarks.peers.answers import FieldAnswer
from benchmarks.peers.callers import OK

MIX: Final[Mapping[str, float]] = MappingProxyType({"stat": 0.1, "routine": 0.45, "batch": 0.45})
"""Shares of the calls of mixed load. More of them are STAT than in a laboratory, so that theirs can be told."""

SMALL_PX: Final = 256
"""Side of a small request's image, around one white cell."""

LEAD_SHARE: Final = 0.15
"""Of a round, what is not counted at its beginning: connections are made, and queues fill."""


async def mixed_closed_loop(asking: Any, seconds: float, at_once: float) -> None:
    """So many calls at a time, each followed by the next, of all priorities in the same order each time."""
    chance = random.Random(1)
    end = asking.began + seconds

    async def one_after_another() -> None:
        while time.monotonic() < end:
            (priority,) = chance.choices(list(MIX), list(MIX.values()))
            await asking.ask(priority)

    await asyncio.gather(*(one_after_another() for _ in range(int(at_once))))


@dataclass(frozen=True, slots=True)
class Scenario:
    """Some load.

    Attributes:
        kind: how calls are made.
        how_much: calls at a time, or calls a second.
        small: whether every other image is a small one.
    """

    kind: Kind
    how_much: float
    small: bool = False


def scenarios(*, at_once: int, callers: int, rate: float) -> dict[str, Scenario]:
    """What is measured, by name.

    Args:
        at_once: calls at a time at saturation.
        callers: of mixed load.
        rate: calls a second at random moments; 0 leaves that out.
    """
    found = {
        "saturation": Scenario(closed_loop, at_once),
        "mixed": Scenario(mixed_closed_loop, callers, small=True),
    }
    return found | ({"open_loop": Scenario(open_loop, rate, small=True)} if rate else {})


def small_images(files: Sequence[bytes], answers: Sequence[FieldAnswer]) -> tuple[bytes, ...]:
    """One white cell and what is around it of each field that has one, as PNG files.

    Args:
        answers: where the cells are.
    """
    return tuple(
        _around(file, answer.cells[0].box)
        for file, answer in zip(files, answers, strict=True)
        if answer.cells
    )


def _around(file: bytes, box: tuple[float, float, float, float]) -> bytes:
    with Image.open(io.BytesIO(file)) as image:
        side = min(SMALL_PX, *image.size)
        left = min(max(0, int((box[0] + box[2] - side) / 2)), image.width - side)
        top = min(max(0, int((box[1] + box[3] - side) / 2)), image.height - side)
        cut = io.BytesIO()
        image.convert("RGB").crop((left, top, left + side, top + side)).save(cut, "PNG")
    return cut.getvalue()


def in_turn(files: Sequence[bytes], small: Sequence[bytes]) -> tuple[bytes, ...]:
    """Fields and small images in turn; those there are fewer of come round more often."""
    count = max(len(files), len(small))
    return tuple(
        one
        for i in range(count)
        for one in (files[i % len(files)], small[i % len(small)] if small else None)
        if one
    )


def per_second(load: Load) -> float:
    """Good answers a second, without the beginning, until the last of the calls that were begun is answered.

    Until then a server has all that it can do; one with many calls at a time may answer none of them earlier.

    Raises:
        ValueError: there is none.
    """
    lead_s = LEAD_SHARE * load.took_s
    ended = [call.ended_s for call in load.calls if call.outcome == OK and call.ended_s > lead_s]
    if not ended:
        outcomes = sorted({call.outcome for call in load.calls})
        raise ValueError(
            f"no good answer under load; what came of {len(load.calls)} calls: {', '.join(outcomes)}"
        )
    return len(ended) / (max(ended) - lead_s)


def latencies(calls: Sequence[Call]) -> dict[str, Any]:
    """Percentiles of the good answers' times in milliseconds, of all calls and of the STAT ones, and what else came."""
    outcomes = {call.outcome for call in calls}
    return {
        "all": _percentiles([call.seconds for call in calls if call.outcome == OK]),
        "stat": _percentiles(
            [call.seconds for call in calls if call.outcome == OK and call.priority == "stat"]
        ),
        "outcomes": {outcome: sum(call.outcome == outcome for call in calls) for outcome in sorted(outcomes)},
    }


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    if len(seconds) < 2:
        return {"calls": len(seconds)}
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return {"calls": len(seconds)} | {f"p{at}_ms": round(1000 * cuts[at - 1], 1) for at in (50, 95, 99)}
