"""Loading models of Triton's repository when they are first asked for, where that is allowed."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from tritonclient.utils import InferenceServerException

from hemaserve.errors import FailedPrecondition
from hemaserve.unshipped import UNSHIPPED
from services.runtime.tasks import Shared

_log = structlog.get_logger(__name__)

LOAD_TIMEOUT_S = 120.0
"""For loading a model, which starts processes and compiles its network."""

LOAD_AGAIN_S = 30.0
"""Least time between two attempts to load a model that could not be loaded."""


@dataclass(frozen=True, slots=True)
class LoadPolicy:
    """Whether models are loaded when they are first asked for.

    Attributes:
        on_request: whether they are.
        profile: name of the stack's profile, for who is refused; may be empty.
    """

    on_request: bool = True
    profile: str = ""

    def check(self, model: str) -> None:
        """Return when `model`, which is in the repository and not loaded, may be loaded.

        Raises:
            FailedPrecondition: it may not.
        """
        if self.on_request:
            return
        who = f"profile {self.profile}" if self.profile else "this service"
        raise FailedPrecondition(
            f"model {model!r} is not loaded, and {who} loads none on request; "
            "a stack of profile default does: hemaserve up --profile default",
            reason="MODEL_NOT_LOADED_ON_REQUEST",
        )


class ModelLoader:
    """Loads each model once, however many ask for it side by side.

    Args:
        policy: whether any is loaded at all.
        known: the names of all models in the repository.
        ready: whether a model answers.
        load: loads a model within so many seconds; raises InferenceServerException.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        policy: LoadPolicy,
        known: Callable[[], Awaitable[set[str]]],
        ready: Callable[[str], Awaitable[bool]],
        load: Callable[[str, float], Awaitable[None]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._known = known
        self._ready = ready
        self._load = load
        self._clock = clock
        self._loading: Shared[str, bool] = Shared()
        self._not_before: dict[str, float] = {}

    async def load(self, model: str) -> bool:
        """Whether a model answers now; see `TritonClient.load`.

        The loading goes on when those who wait for it do not: the next one finds it done.

        Raises:
            FailedPrecondition: it is not loaded, and is not to be; or it is known to be made and not delivered.
        """
        return await self._loading.run(model, lambda: self._try(model))

    async def _try(self, model: str) -> bool:
        # Asked first, because names come from callers.
        if model not in await self._known():
            if model in UNSHIPPED:
                raise FailedPrecondition(str(UNSHIPPED[model]), reason="MODEL_NOT_SHIPPED")
            return False
        if await self._ready(model):
            return True
        self._policy.check(model)
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
