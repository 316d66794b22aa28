"""Whether a peer gives the same answers as our gateway."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.peers.answers import FieldAnswer, disagreements
from benchmarks.peers.callers import Target, caller
from benchmarks.peers.catalogue import PEERS

SHARES: Final[Mapping[str, float]] = {
    name: 0.1 if peer.environment == "flask" else 0.02 for name, peer in PEERS.items()
}
"""Disagreements that are allowed, as a share of the cells. The networks run in bfloat16 on both sides, and only batches
of other sizes round otherwise, which a cell at a threshold may show; PyTorch eager runs them in float32."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two of them agree.

    Attributes:
        fields: how many were compared.
        cells: white cells that ours found in them.
        disagreements: one sentence each, with the field's number.
    """

    fields: int
    cells: int
    disagreements: tuple[str, ...]

    @property
    def share(self) -> float:
        """Disagreements as a share of the cells."""
        return len(self.disagreements) / max(1, self.cells)


def answers(target: Target, images: Sequence[bytes], *, at_once: int = 4) -> list[FieldAnswer]:
    """What a target says of some fields, asked so many at a time, so that those who batch do.

    Raises:
        RuntimeError: it does not answer one.
    """

    async def ask_all() -> list[FieldAnswer]:
        places = asyncio.Semaphore(at_once)
        async with caller(target) as client:

            async def ask(image: bytes) -> FieldAnswer:
                async with places:
                    return await client.analyze(image)

            return await asyncio.gather(*map(ask, images))

    return asyncio.run(ask_all())


def agreement(ours: Sequence[FieldAnswer], theirs: Sequence[FieldAnswer]) -> Agreement:
    """Where two of them disagree about the same fields."""
    found = [
        f"field {number}: {sentence}"
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True))
        for sentence in disagreements(one, other)
    ]
    return Agreement(len(ours), sum(len(answer.cells) for answer in ours), tuple(found))
