"""Callers of a gateway that keep all its signals busy: single fields of all sizes, smears, and STAT."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from hemaserve.client import Client
from hemaserve.client.errors import HemaServeError
from hemaserve.client.requests import Field
from hemaserve.imaging import decode, resize
from hemaserve.results import Priority
from hemaserve.synthetic import encode_jpeg, generate_field

SMEAR_FIELDS: Final = 8
_TILE: Final = (640, 480)
_MEDIUM: Final = (2, 2)
_LARGE: Final = (5, 4)
"""Tiles beside and above each other: 1.2 and 6.1 megapixels."""


@dataclass(frozen=True)
class Fields:
    """Image files by size."""

    small: Sequence[bytes]
    medium: Sequence[bytes]
    large: Sequence[bytes]


def fields(images: Sequence[Path] = (), *, seed: int = 1) -> Fields:
    """Fields to send: these images, or else generated ones; larger ones are put together from them."""
    if images:
        small = [path.read_bytes() for path in images]
    else:
        small = [encode_jpeg(generate_field(seed + place).image) for place in range(8)]
    chance = random.Random(seed)
    return Fields(small, [_mosaic(chance, small, *_MEDIUM)], [_mosaic(chance, small, *_LARGE)])


def _mosaic(chance: random.Random, files: Sequence[bytes], columns: int, rows: int) -> bytes:
    lines = [
        np.concatenate([resize(decode(chance.choice(files)), _TILE) for _ in range(columns)], axis=1)
        for _ in range(rows)
    ]
    return encode_jpeg(np.concatenate(lines))


@dataclass
class Load:
    """Callers, until told to stop.

    Attributes:
        pause_s: what each waits after a call, on average.
        codes: how calls ended, and how often.
    """

    address: str
    sent: Fields
    pause_s: float = 0.3
    codes: Counter[str] = field(default_factory=Counter)
    _stop: asyncio.Event = field(default_factory=asyncio.Event)

    def stop(self) -> None:
        """Begin nothing new."""
        self._stop.set()

    async def run(self) -> None:
        """Call until `stop`."""
        async with Client(self.address, timeout_s=60.0) as client, asyncio.TaskGroup() as group:
            for name, images in (
                ("small", self.sent.small),
                ("medium", self.sent.medium),
                ("large", self.sent.large),
            ):
                if images:
                    group.create_task(self._fields(client, name, images))
            for priority in (Priority.ROUTINE, Priority.STAT):
                group.create_task(self._smears(client, priority))

    async def _fields(self, client: Client, name: str, images: Sequence[bytes]) -> None:
        chance = random.Random(name)
        # A large field is work for twenty small ones.
        pause_s = self.pause_s * {"small": 1, "medium": 4, "large": 20}[name]
        while not self._stop.is_set():
            try:
                await client.analyze_field(chance.choice(images))
                self.codes["OK"] += 1
            except HemaServeError as error:
                self.codes[error.code] += 1
            await self._wait(chance.expovariate(1 / pause_s))

    async def _smears(self, client: Client, priority: Priority) -> None:
        chance = random.Random(priority.value)
        while not self._stop.is_set():
            chosen = chance.choices(self.sent.small, k=SMEAR_FIELDS)
            try:
                await client.analyze_smear(
                    [Field(image, str(place)) for place, image in enumerate(chosen)],
                    smear_id=f"{priority.value}-{time.monotonic_ns()}",
                    priority=priority,
                )
                self.codes["OK"] += 1
            except HemaServeError as error:
                self.codes[error.code] += 1
            await self._wait(chance.expovariate(1 / (self.pause_s * 20)))

    async def _wait(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return
