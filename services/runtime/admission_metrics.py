"""The signals of a service's schedulers."""

from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry

from hemaserve.results import Priority
from services.runtime import signals
from services.runtime.instruments import Counter, Gauge, Histogram


class AdmissionMetrics:
    """What is held, what waits and for how long, and what was turned away.

    Args:
        registry: where they are kept; one of their own by default.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._size = Gauge(signals.ADMISSION_SIZE, self.registry)
        self._held = Gauge(signals.ADMISSION_HELD, self.registry)
        self._waiting = Gauge(signals.ADMISSION_WAITING, self.registry)
        self._wait = Histogram(signals.ADMISSION_WAIT, self.registry)
        self._refused = Counter(signals.ADMISSION_REFUSED, self.registry)

    def watch(
        self, capacity: str, size: int, *, held: Callable[[], int], waiting: Callable[[Priority], int]
    ) -> None:
        """From now on show what these functions return when the metrics are read."""
        self._size.series(capacity).set(size)
        self._held.series(capacity).set_function(held)
        for priority in Priority:
            self._waiting.series(capacity, priority).set_function(partial(waiting, priority))

    def waited(self, capacity: str, priority: Priority, seconds: float) -> None:
        """Work got its turn after this time."""
        self._wait.observe(seconds, capacity, priority)

    def refused(self, capacity: str, priority: Priority, reason: str) -> None:
        """Work did not get its turn."""
        self._refused.inc(capacity, priority, reason)
