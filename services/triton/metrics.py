"""The signals of requests to Triton, and of the models that it serves."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry

from services.runtime import signals
from services.runtime.errors import code_of
from services.runtime.instruments import Counter, Gauge, Histogram

_DIGEST_CHARS = 12


class TritonMetrics:
    """How Triton does what it is asked.

    Args:
        registry: where they are kept; one of their own by default.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self._duration = Histogram(signals.TRITON_DURATION, registry)
        self._failed = Counter(signals.TRITON_FAILED, registry)
        self._rows = Histogram(signals.TRITON_ROWS, registry)
        self._in_progress = Gauge(signals.TRITON_IN_PROGRESS, registry)

    @contextmanager
    def asked(self, model: str, rows: int) -> Iterator[None]:
        """Triton is asked in the block."""
        began = time.perf_counter()
        self._rows.observe(rows, model)
        self._in_progress.series(model).inc()
        try:
            yield
        except Exception as error:
            self._failed.inc(model, code_of(error).name)
            raise
        finally:
            self._in_progress.series(model).dec()
            self._duration.observe(time.perf_counter() - began, model)


class ModelMetrics:
    """Which models there are, in which versions.

    Args:
        registry: where they are kept; one of their own by default.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._info = Gauge(signals.MODEL_INFO, registry or CollectorRegistry())
        self._shown: dict[str, tuple[str, str, str]] = {}

    def seen(self, models: Iterable[tuple[str, str, str]]) -> None:
        """These models, by name, version and digest, are there; what was said of others of these names is not true."""
        told = {name: (name, version, digest[:_DIGEST_CHARS]) for name, version, digest in models}
        if told.items() <= self._shown.items():
            return
        self._shown |= told
        self._info.keep(self._shown.values())
        for values in self._shown.values():
            self._info.series(*values).set(1)
