"""Which version of a classification model answers a call: what the rollout file says, of what is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from hemaserve.errors import DomainError
from hemaserve.v1 import cells_pb2
from services.gateway.models import ModelDirectory
from services.gateway.orders import AnalyzeOptions, SmearOrder
from services.gateway.rollout import Assignment, Rollouts, read
from services.gateway.rollout_metrics import Role, RolloutMetrics
from services.runtime.remote import Deadline
from services.runtime.watched_file import WatchedFile

_log = structlog.get_logger(__name__)

_WAKE_TIMEOUT_S: Final = 120.0
_WAKE_AGAIN_S: Final = 30.0


class ModelVersions:
    """Chooses, for each smear and each call, the version that answers.

    Without a rollout file, or for a model that is not in it, that is the model itself. A version that is not there, for
    it is not loaded yet or its name is wrong, answers nobody: it is asked to be loaded, nobody waits for that, and in
    its place answers the stable version, or the model that was asked for. So a mistake in the file fails no call.

    Args:
        path: the rollout file; None for none.

    Raises:
        OSError: the file cannot be read, or is no rollout file.
    """

    def __init__(self, path: Path | None, models: ModelDirectory, metrics: RolloutMetrics) -> None:
        self._models = models
        self._metrics = metrics
        self._file = None if path is None else _open(path, metrics)
        self._waking: dict[str, asyncio.Task[None]] = {}
        self._not_before: dict[str, float] = {}

    @property
    def rollouts(self) -> Rollouts:
        """What the file says at this moment. Whoever must not change the version halfway keeps it."""
        return Rollouts() if self._file is None else self._file.current

    async def of_smear(self, order: SmearOrder, *, deadline: Deadline) -> SmearOrder:
        """The order, by the version that answers for its smear.

        A smear that is resumed goes on with the version that it began with, whatever the file says by now. The specimen
        decides, where it is known, so that its smears can be compared.
        """
        begun_with = next((tally.classifier for tally in order.received if tally.classifier), "")
        options = await self.of_call(
            order.options,
            self.rollouts,
            smear=order.specimen or order.smear_id,
            begun_with=begun_with,
            deadline=deadline,
        )
        return replace(order, options=options)

    async def of_call(
        self,
        options: AnalyzeOptions,
        rollouts: Rollouts,
        *,
        smear: str = "",
        begun_with: str = "",
        deadline: Deadline,
    ) -> AnalyzeOptions:
        """The options, by the version that answers a call.

        Args:
            smear: what all calls of a smear have in common; empty for a call that belongs to none.
            begun_with: name of the version that has answered for a part of the smear; empty for none.
        """
        assigned = await self.assigned(
            options.model, rollouts, smear=smear, begun_with=begun_with, deadline=deadline
        )
        return replace(options, model=assigned.model, shadow_model=assigned.shadow)

    async def assigned(
        self,
        asked: str,
        rollouts: Rollouts,
        *,
        smear: str = "",
        begun_with: str = "",
        deadline: Deadline,
    ) -> Assignment:
        """Who answers those who ask for this model (empty: the default); see `of_call`.

        The answer to the default model's name stays empty while nothing is said of it.
        """
        if not rollouts.models and not begun_with:
            return Assignment(asked)
        # Asked for in any case, because it looks again at what is there.
        default = await self._models.default_name(timeout_s=deadline.remaining_s())
        name = asked or default
        chosen = Assignment(begun_with) if begun_with else rollouts.assigned(name, smear)
        if not begun_with:
            chosen = self._there(chosen, name, rollouts)
        if name in rollouts.models:
            role = _role(chosen.model, name, rollouts)
            # What a resumed smear began with is what a caller says: no label.
            version = chosen.model if chosen.model == name or role is not Role.OTHER else ""
            self._metrics.assigned(name, version, role)
        return replace(chosen, model=asked) if chosen.model == name else chosen

    def _there(self, chosen: Assignment, name: str, rollouts: Rollouts) -> Assignment:
        """What is chosen, as far as it is there."""
        versions = rollouts.versions(name)
        # All of them, so that each is loaded before it is somebody's turn to be answered by it.
        there = {name, *[version for version in versions if self._is_there(version)]}
        model = next((each for each in (chosen.model, versions[0]) if each in there), name)
        return Assignment(model, chosen.shadow if chosen.shadow in there - {model} else "")

    def _is_there(self, model: str) -> bool:
        if self._models.answers(model):
            return True
        if model not in self._waking and time.monotonic() >= self._not_before.get(model, 0.0):
            self._waking[model] = asyncio.create_task(self._wake(model))
        return False

    async def _wake(self, model: str) -> None:
        try:
            await self._models.wake(model, timeout_s=_WAKE_TIMEOUT_S)
        except DomainError as error:
            _log.error("rollout_version_missing", model=model, reason=error.reason, message=str(error))
        finally:
            self._not_before[model] = time.monotonic() + _WAKE_AGAIN_S
            del self._waking[model]

    def told(self, models: Iterable[cells_pb2.Model]) -> list[cells_pb2.Model]:
        """Models as clients see them, with what the file says of each."""
        listed, rollouts = list(models), self.rollouts
        ready = {model.name for model in listed if model.ready}
        for model in listed:
            if (rollout := rollouts.models.get(model.name)) is not None:
                versions = rollouts.versions(model.name)
                model.rollout.stable = versions[0]
                model.rollout.candidate = rollout.candidate or ""
                model.rollout.share, model.rollout.shadow_share = rollout.share, rollout.shadow_share
                missing = [version for version in versions if version not in ready]
                model.rollout.missing.extend(missing)
                for version in missing:
                    self._is_there(version)  # which has it loaded where it can be
        return listed

    async def close(self) -> None:
        """Stop waiting for versions that are being loaded."""
        waking = list(self._waking.values())
        for task in waking:
            task.cancel()
        await asyncio.gather(*waking, return_exceptions=True)


def _role(model: str, name: str, rollouts: Rollouts) -> Role:
    stable, *tried = rollouts.versions(name)
    if model == stable:
        return Role.STABLE
    return Role.CANDIDATE if model in tried else Role.OTHER


def _open(path: Path, metrics: RolloutMetrics) -> WatchedFile[Rollouts]:
    try:
        return WatchedFile(path, read, name="rollout file", on_state=metrics.file_usable)
    except ValueError as error:
        raise OSError(f"the rollout file {path} cannot be used: {error}") from None
    except OSError as error:
        raise OSError(f"the rollout file {path} cannot be read: {error.strerror}") from None
