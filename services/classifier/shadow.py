"""Another version of a model, asked about crops that were answered already, when there is nothing else to do.

What it says is compared and never returned. It has no caller: what it is asked about is held up to a bound, and for
some seconds only. A piece is begun while no caller is at work, so that a caller who comes finds at most that piece
before it, and at the lowest priority.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import structlog

from hemaserve.errors import DomainError
from hemaserve.results import Priority
from services.classifier.agreement import agreement, word
from services.classifier.catalogue import ModelCatalogue
from services.classifier.crops import CropBatch
from services.classifier.decision import Decision
from services.classifier.ensemble import Answer, Networks
from services.classifier.models import ClassificationModel
from services.classifier.shadow_metrics import ShadowMetrics
from services.runtime.caller import Caller, current_caller

_log = structlog.get_logger(__name__)

PIECE: Final = 16
"""Most crops of one piece: about a twentieth of a second of two cores."""

MAX_CROPS: Final = 512
"""Most crops that are held: 14 MB of 96 px."""

MAX_WAIT_S: Final = 10.0
"""How long crops are held while callers are at work."""

TIMEOUT_S: Final = 10.0
"""Longest that one piece may take."""

RETRY_S: Final = 30.0
"""How long a version that failed is left alone."""

_CALLER: Final = Caller("shadow", Priority.BATCH)


class Dropped(StrEnum):
    """Why crops were not compared."""

    BUSY = "busy"
    """There was no room for them, or callers were at work all the time."""
    FAILED = "failed"
    """The version is not there, or did not answer."""
    DEGRADED = "degraded"
    """One of the two answers is that of a part of an ensemble only."""
    OTHER_CROPS = "other_crops"
    """It wants crops of another size or margin."""


@dataclass(frozen=True, slots=True)
class _Piece:
    model: ClassificationModel
    shadow: str
    crops: CropBatch
    decisions: Sequence[Decision]
    offered_s: float


class Shadow:
    """Asks shadow models, and compares.

    Args:
        clock: seconds; monotonic.
    """

    def __init__(
        self,
        catalogue: ModelCatalogue,
        networks: Networks,
        metrics: ShadowMetrics | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalogue = catalogue
        self._networks = networks
        self._metrics = metrics or ShadowMetrics()
        self._clock = clock
        self._waiting: deque[_Piece] = deque()
        self._held = 0
        self._callers = 0
        self._quiet = asyncio.Event()
        self._quiet.set()
        self._not_before: dict[str, float] = {}
        self._worker: asyncio.Task[None] | None = None
        # Of the service, and of no call: what is done here is no part of any caller's trace.
        self._context = copy_context()

    @contextmanager
    def caller_at_work(self) -> Iterator[None]:
        """Inside the block somebody waits for an answer: nothing is begun here."""
        self._callers += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._callers -= 1
            if not self._callers:
                self._quiet.set()

    def offer(
        self, shadow: str, crops: CropBatch, answer: Answer, decisions: Sequence[Decision], seconds: float
    ) -> None:
        """Have crops compared when there is time; returns at once, and never fails.

        Args:
            shadow: name of the model to ask.
            crops: uint8 [N, size, size, 3] as the answer's model saw them; kept, so nobody may change them.
            answer: what was said of them.
            decisions: and what came of it, for each crop.
            seconds: how long the answer took.
        """
        model, count = answer.model, len(crops)
        if not count:
            return
        if answer.degraded:
            self._metrics.dropped(model.name, Dropped.DEGRADED, count)
            return
        if self._clock() < self._not_before.get(shadow, float("-inf")):
            self._metrics.dropped(model.name, Dropped.FAILED, count)
            return
        if self._held + count > MAX_CROPS:
            self._metrics.dropped(model.name, Dropped.BUSY, count)
            return
        self._metrics.answered(model.name, seconds / count)
        self._held += count
        now = self._clock()
        for start in range(0, count, PIECE):
            end = start + PIECE
            self._waiting.append(_Piece(model, shadow, crops[start:end], decisions[start:end], now))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work(), context=self._context.copy())

    async def close(self) -> None:
        """Let go of all that waits."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        self._waiting.clear()

    async def _work(self) -> None:
        current_caller.set(_CALLER)
        while self._waiting:
            piece = self._waiting[0]
            left_s = piece.offered_s + MAX_WAIT_S - self._clock()
            try:
                async with asyncio.timeout(max(left_s, 0.0)):
                    await self._quiet.wait()
                await self._compare(piece)
            except TimeoutError:
                self._drop(piece, Dropped.BUSY)
            except DomainError as error:
                _log.warning("shadow_failed", model=piece.shadow, reason=error.reason)
                self._not_before[piece.shadow] = self._clock() + RETRY_S
                self._drop(piece, Dropped.FAILED)
            except Exception:
                # Nobody waits for it, so nobody else would ever tell.
                _log.exception("shadow_broke", model=piece.shadow)
                self._drop(piece, Dropped.FAILED)
            finally:
                self._waiting.popleft()
                self._held -= len(piece.crops)

    async def _compare(self, piece: _Piece) -> None:
        model = await self._catalogue.get(piece.shadow)
        if (model.crop_size_px, model.crop_margin) != (piece.model.crop_size_px, piece.model.crop_margin):
            self._drop(piece, Dropped.OTHER_CROPS)
            return
        began_s = self._clock()
        answer = await self._networks.answer(model, piece.crops, timeout_s=TIMEOUT_S)
        took_s = self._clock() - began_s
        if answer.degraded:
            self._drop(piece, Dropped.DEGRADED)
            return
        self._metrics.shadowed(piece.model.name, took_s / len(piece.crops))
        for said, shadow_said in zip(piece.decisions, answer.decisions(), strict=True):
            self._metrics.compared(
                piece.model.name, agreement(said, shadow_said), word(said), word(shadow_said)
            )

    def _drop(self, piece: _Piece, why: Dropped) -> None:
        self._metrics.dropped(piece.model.name, why, len(piece.crops))
