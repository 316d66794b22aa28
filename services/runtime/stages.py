"""The stages of the work on a request: each is timed, counted when it fails, and is a span where spans are recorded.

They are told in place: `with stage("decode"):`. Whose they are, the call at hand knows; outside of calls they are none.
"""

import time
from contextvars import ContextVar
from types import TracebackType
from typing import Final, Self

from prometheus_client import CollectorRegistry

from services.runtime import signals
from services.runtime.instruments import Counter, Histogram
from services.runtime.signal_kinds import Owner
from services.runtime.span_signals import stages_of
from services.runtime.tracing import Within


class StageMetrics:
    """How long the stages of a service's work take, and how often they fail.

    Args:
        service: whose they are; all declared ones where it is none of ours.
    """

    def __init__(self, registry: CollectorRegistry, service: str = "") -> None:
        names = stages_of(Owner(service)) if service in set(Owner) else signals.STAGE.values
        self._duration = Histogram(signals.STAGE_DURATION, registry, stage=names)
        self._failed = Counter(signals.STAGE_FAILED, registry, stage=names)

    def ended(self, name: str, seconds: float, error: BaseException | None) -> None:
        """A stage ended, by this error or in order."""
        self._duration.observe(seconds, name)
        if isinstance(error, Exception):
            self._failed.inc(name)


_metrics: Final[ContextVar[StageMetrics | None]] = ContextVar("stage_metrics", default=None)


def enter_call(metrics: StageMetrics) -> None:
    """From here on, this task and those that it starts serve a call of the service that these are of."""
    _metrics.set(metrics)


class Stage:
    """One stage; use as a context manager."""

    __slots__ = ("_began", "_metrics", "_name", "_span")

    def __init__(self, name: str) -> None:
        self._name = name
        self._span = Within(name)
        self._metrics: StageMetrics | None = None
        self._began = 0.0

    def __enter__(self) -> Self:
        self._metrics = _metrics.get()
        self._span.__enter__()
        self._began = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._metrics is not None:
            self._metrics.ended(self._name, time.perf_counter() - self._began, error)
        self._span.__exit__(kind, error, trace)


stage = Stage


class Stages:
    """Stages one after the other; use as a context manager.

    Args:
        first: name of the first one.
    """

    def __init__(self, first: str) -> None:
        self._name = first
        self._stage = Stage(first)

    def __enter__(self) -> Self:
        self._stage.__enter__()
        return self

    def go_on(self, name: str) -> None:
        """End the stage at hand, and begin this one if it is another."""
        if name != self._name:
            self._stage.__exit__(None, None, None)
            self._name, self._stage = name, Stage(name)
            self._stage.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stage.__exit__(kind, error, trace)
