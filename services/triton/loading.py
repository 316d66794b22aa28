"""Loading models of Triton's repository when they are first asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog
from tritonclient.utils import InferenceServerException

_log = structlog.get_logger(__name__)

LOAD_TIMEOUT_S = 120.0
"""For loading a model, which starts processes and compiles its network."""

LOAD_AGAIN_S = 30.0
"""Least time between two attempts to load a model that could not be loaded."""


class ModelLoader:
    """Loads each model once, however many ask for it side by side.

    Args:
        known: the names of all models in the repository.
        ready: whether a model answers.
        load: loads a model within so many seconds; raises InferenceServerException.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        known: Callable[[], Awaitable[set[str]]],
        ready: Callable[[str], Awaitable[bool]],
        load: Callable[[str, float], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._known = known
        self._ready = ready
        self._load = load
        self._clock = clock
        self._loading: dict[str, asyncio.Task[bool]] = {}
        self._not_before: dict[str, float] = {}

    async def load(self, model: str) -> bool:
        """Whether a model answers now; see `TritonClient.load`.

        The loading goes on when those who wait for it do not: the next one finds it done.
        """
        loading = self._loading.get(model)
        if loading is None:
            loading = self._loading[model] = asyncio.create_task(self._try(model))
            loading.add_done_callback(lambda _: self._loading.pop(model))
        return await asyncio.shield(loading)

    async def _try(self, model: str) -> bool:
        # Asked first, because names come from callers.
        if model not in await self._known():
            return False
        if await self._ready(model):
            return True
        if self._clock() < self._not_before.get(model, float("-inf")):
            return False
        started = self._clock()
        try:
            await self._load(model, LOAD_TIMEOUT_S)
        except InferenceServerException as error:
            _log.warning(
                "triton_model_not_loaded", model=model, status=error.status(), message=error.message()
            )
            self._not_before[model] = self._clock() + LOAD_AGAIN_S
            return False
        _log.info("triton_model_loaded", model=model, seconds=round(self._clock() - started, 2))
        return True
