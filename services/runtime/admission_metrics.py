"""The signals of a service's schedulers."""

from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from hemaserve.results import Priority
from services.runtime.metrics import LATENCY_BUCKETS_S


class AdmissionMetrics:
    """What is held, what waits and for how long, and what was turned away; labels: the capacity's name, the priority.

    Args:
        registry: where they are kept; one of their own by default.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        labels = ("capacity", "priority")
        self._held = Gauge(
            "hemaserve_admission_held",
            "How much of a capacity is held, in its own units.",
            labelnames=("capacity",),
            registry=self.registry,
        )
        self._waiting = Gauge(
            "hemaserve_admission_waiting",
            "Pieces of work that wait for their turn.",
            labelnames=labels,
            registry=self.registry,
        )
        self._wait = Histogram(
            "hemaserve_admission_wait_seconds",
            "Time that work waited for its turn, of the work that got it, in seconds.",
            labelnames=labels,
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self._refused = Counter(
            "hemaserve_admission_refused",
            "Pieces of work that did not get their turn, by reason.",
            labelnames=(*labels, "reason"),
            registry=self.registry,
        )

    def watch(self, capacity: str, *, held: Callable[[], int], waiting: Callable[[Priority], int]) -> None:
        """From now on show what these functions return when the metrics are read."""
        self._held.labels(capacity).set_function(held)
        for priority in Priority:
            self._waiting.labels(capacity, priority.value).set_function(partial(waiting, priority))

    def waited(self, capacity: str, priority: Priority, seconds: float) -> None:
        """Work got its turn after this time."""
        self._wait.labels(capacity, priority.value).observe(seconds)

    def refused(self, capacity: str, priority: Priority, reason: str) -> None:
        """Work did not get its turn."""
        self._refused.labels(capacity, priority.value, reason).inc()
