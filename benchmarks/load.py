"""Steady load of all kinds on a gateway, every answer of which is checked against an undisturbed one."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import grpc

from benchmarks.answers import Expected, Sample, cell_problems, field_problems, smear_problems
from hemaserve.client import Client
from hemaserve.client.errors import HemaServeError
from hemaserve.client.requests import Field, LocatedCell
from hemaserve.results import FieldResult

ALLOWED: Final = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"})
"""What a caller may be told while something is broken: all of them say that asking again may help."""

SMEAR_FIELDS: Final = 20
MOST_PROBLEMS: Final = 50


@dataclass(frozen=True)
class Call:
    """One call that is over: when it began and ended, on the monotonic clock, and its error's code or `OK`."""

    began: float
    ended: float
    code: str


@dataclass
class Tally:
    """What came of all that was asked.

    Attributes:
        smears: finished ones.
        fields: of finished smears, and of calls about a single field.
        cells: located cells that were named.
        lost: fields or cells of accepted streams that got no good answer.
        duplicated: fields that were told of, or counted, twice.
        mixed_up: answers that are not those of an undisturbed stack.
        degraded: fields that an ensemble answered without all its members, and said so.
        codes: of single calls, how many ended how.
        forbidden: errors that nobody should see.
        problems: the first of all that was wrong, in words.
        calls: single calls.
        done_at: when each field was done, on the monotonic clock.
    """

    smears: int = 0
    fields: int = 0
    cells: int = 0
    lost: int = 0
    duplicated: int = 0
    mixed_up: int = 0
    degraded: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    forbidden: int = 0
    problems: list[str] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    done_at: list[float] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether nothing at all was wrong."""
        return not (self.lost or self.duplicated or self.mixed_up or self.forbidden)

    def note(self, what: str, problems: Sequence[str]) -> None:
        """Remember what was wrong, as far as there is room."""
        for problem in problems[: MOST_PROBLEMS - len(self.problems)]:
            self.problems.append(f"{what} {problem}")

    def refused(self, what: str, error: HemaServeError) -> None:
        """A call that ended with an error."""
        if error.code not in ALLOWED:
            self.forbidden += 1
            self.note(what, [f"ended with {error.code} {error.reason}: {error}"])


class Pace:
    """Lets through so many a second, evenly; who comes late does not make up for it."""

    def __init__(self, a_second: float) -> None:
        self._gap_s = 1 / a_second
        self._next = 0.0

    async def turn(self) -> None:
        """Wait for the next turn."""
        now = time.monotonic()
        at = max(self._next, now)
        self._next = at + self._gap_s
        await asyncio.sleep(at - now)


class Load:
    """Callers of one gateway, each with a connection of its own, until told to stop.

    Args:
        address: the gateway's, or those of several.
        credentials: what it takes to call them.
        samples: what to send.
        expected: what an undisturbed stack says of it.
        fields_per_second: of all smears and single fields together.
        smear_callers: how many send smears; one more sends single fields and one single cells.
    """

    def __init__(
        self,
        address: str,
        samples: Sequence[Sample],
        expected: Expected,
        *,
        seed: int,
        fields_per_second: float,
        credentials: grpc.ChannelCredentials | None = None,
        smear_callers: int = 2,
        timeout_s: float = 30.0,
    ) -> None:
        self.tally = Tally()
        self._address = address
        self._credentials = credentials
        self._samples = samples
        self._expected = expected
        self._seed = seed
        self._pace = Pace(fields_per_second)
        self._smear_callers = smear_callers
        self._timeout_s = timeout_s
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """Begin nothing new; what was begun is finished."""
        self._stop.set()

    async def run(self) -> Tally:
        """Call until `stop`."""
        callers: list[Callable[[Client, random.Random, str], Awaitable[None]]] = [
            *[self._smear] * self._smear_callers,
            self._field,
            self._cells,
        ]
        async with asyncio.TaskGroup() as group:
            for number, ask in enumerate(callers):
                group.create_task(self._keep_asking(ask, number))
        return self.tally

    async def _keep_asking(
        self, ask: Callable[[Client, random.Random, str], Awaitable[None]], number: int
    ) -> None:
        chance = random.Random(f"{self._seed}/{number}")
        count = 0
        async with Client(self._address, timeout_s=self._timeout_s, credentials=self._credentials) as client:
            while not self._stop.is_set():
                count += 1
                await ask(client, chance, f"{number}-{count}")

    async def _smear(self, client: Client, chance: random.Random, name: str) -> None:
        chosen = chance.choices(self._samples, k=SMEAR_FIELDS)
        sent = {f"{name}/{place}/{each.name}": each for place, each in enumerate(chosen)}
        heard: list[str] = []

        async def fields() -> AsyncIterator[Field]:
            for field_id, each in sent.items():
                await self._pace.turn()
                yield Field(each.image, field_id)

        def on_result(result: FieldResult) -> None:
            heard.append(result.field_id)
            self._check_field(sent.get(result.field_id), result)

        try:
            result = await client.analyze_smear(
                fields(), smear_id=name, specimen=f"run-{name}", on_result=on_result
            )
        except HemaServeError as error:
            missing = len(sent) - len(set(heard))
            self.tally.lost += missing
            self.tally.note(
                f"smear {name}", [f"gave {missing} fields up: {error.code} {error.reason}: {error}"]
            )
            self.tally.refused(f"smear {name}", error)
            return
        self.tally.smears += 1
        known = {field_id: self._expected.fields[each.name] for field_id, each in sent.items()}
        self.tally.duplicated += len(heard) - len(set(heard))
        self.tally.lost += len(set(sent) - set(heard))
        if problems := smear_problems(result, known, heard):
            self.tally.mixed_up += 1
            self.tally.note(f"smear {name}", problems)

    async def _field(self, client: Client, chance: random.Random, name: str) -> None:
        chosen = chance.choice(self._samples)
        field_id = f"{name}/{chosen.name}"
        await self._pace.turn()
        began = time.monotonic()
        try:
            result = await client.analyze_field(chosen.image, field_id=field_id)
        except HemaServeError as error:
            self._over(began, error.code)
            self.tally.refused(f"field {field_id}", error)
            return
        self._over(began, "OK")
        self._check_field(chosen if result.field_id == field_id else None, result)

    async def _cells(self, client: Client, chance: random.Random, name: str) -> None:
        chosen = chance.choices(self._samples, k=4)
        sent = [
            (f"{name}/{place}/{each.name}/{number}", cell, self._expected.cells[each.name][number])
            for place, each in enumerate(chosen)
            for number, cell in enumerate(each.cells)
        ]
        await self._pace.turn()
        try:
            named = await client.classify_cells([LocatedCell(cell, cell_id) for cell_id, cell, _ in sent])
        except HemaServeError as error:
            self.tally.lost += len(sent)
            self.tally.note(f"cells {name}", [f"were given up: {error.code} {error.reason}: {error}"])
            self.tally.refused(f"cells {name}", error)
            return
        if [one.cell_id for one in named] != [cell_id for cell_id, _, _ in sent]:
            self.tally.mixed_up += 1
            self.tally.note(f"cells {name}", ["were answered as others"])
            return
        for one, (cell_id, _, known) in zip(named, sent, strict=True):
            self.tally.cells += 1
            if one.error is not None:
                self.tally.lost += 1
                self.tally.note(f"cell {cell_id}", [f"failed with {one.error.code} {one.error.reason}"])
            elif problems := cell_problems(known, one.classification):
                self.tally.mixed_up += 1
                self.tally.note(f"cell {cell_id}", problems)

    def _over(self, began: float, code: str) -> None:
        self.tally.calls.append(Call(began, time.monotonic(), code))
        self.tally.codes[code] += 1

    def _check_field(self, asked: Sample | None, result: FieldResult) -> None:
        self.tally.fields += 1
        self.tally.done_at.append(time.monotonic())
        if asked is None:
            self.tally.mixed_up += 1
            self.tally.note(f"field {result.field_id}", ["was not asked for"])
            return
        self.tally.degraded += any(
            cell.classification and cell.classification.degraded for cell in result.cells
        )
        if problems := field_problems(self._expected.fields[asked.name], result, asked.sha256):
            if result.error is not None:
                self.tally.lost += 1
                self.tally.forbidden += result.error.code not in ALLOWED
            else:
                self.tally.mixed_up += 1
            self.tally.note(f"field {result.field_id}", problems)
