"""The signals of fields and smears."""

from typing import Final

from prometheus_client import CollectorRegistry

from hemaserve.differential import ReviewReason
from hemaserve.results import Priority
from hemaserve.smear_count import SmearEnd
from services.runtime import signals
from services.runtime.instruments import Counter, Histogram

MEDIUM_FROM_PX: Final = 1_000_000
LARGE_FROM_PX: Final = 5_000_000


def image_size(width_px: int, height_px: int) -> str:
    """Small, medium or large: what a field's latency is expected to depend on."""
    pixels = width_px * height_px
    if pixels < MEDIUM_FROM_PX:
        return "small"
    return "medium" if pixels < LARGE_FROM_PX else "large"


class GatewayMetrics:
    """How fields and smears fare.

    Args:
        registry: where they are kept; one of their own by default.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self._field_duration = Histogram(signals.FIELD_DURATION, registry)
        self._smear_fields = Counter(signals.SMEAR_FIELDS, registry)
        self._smears = Counter(signals.SMEARS, registry)
        self._reviews = Counter(signals.SMEAR_REVIEWS, registry)
        self._freshness = Histogram(signals.SMEAR_FRESHNESS, registry)

    def field_answered(self, width_px: int, height_px: int, seconds: float) -> None:
        """A field of this size, sent by itself, was answered after this time."""
        self._field_duration.observe(seconds, image_size(width_px, height_px))

    def smear_field_done(self, *, failed: bool) -> None:
        """A field of a smear is done."""
        self._smear_fields.inc("failed" if failed else "analyzed")

    def smear_done(
        self,
        end: SmearEnd,
        reasons: tuple[ReviewReason, ...],
        priority: Priority,
        freshness_s: float | None,
    ) -> None:
        """A smear is done.

        Args:
            reasons: why it is to be looked at first.
            freshness_s: how long after the arrival of its last field; None when it had none.
        """
        self._smears.inc(end)
        for reason in reasons:
            self._reviews.inc(reason)
        if freshness_s is not None:
            self._freshness.observe(freshness_s, priority)
