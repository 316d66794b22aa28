"""The signals of fields as the detector sees them."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry

from hemaserve.cells import Kind
from services.detector.field_quality import FieldQuality
from services.runtime import signals
from services.runtime.instruments import Counter, Histogram


class DetectorMetrics:
    """What is found in fields, and how sharp and how stained they are.

    Args:
        registry: where they are kept; one of their own by default.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self._detected = Counter(signals.CELLS_DETECTED, registry)
        self._focus = Histogram(signals.FIELD_FOCUS, registry)
        self._background = Histogram(signals.FIELD_BACKGROUND, registry)
        self._stain = Histogram(signals.FIELD_STAIN, registry)

    def field_done(self, quality: FieldQuality, found: Mapping[Kind, int]) -> None:
        """A field was looked at, and so many objects of each kind were found."""
        for kind, count in found.items():
            self._detected.inc(kind, by=count)
        self._focus.observe(quality.focus)
        for channel, background, stain in zip(
            signals.CHANNEL.values, quality.background, quality.stain, strict=True
        ):
            self._background.observe(background, channel)
            self._stain.observe(stain, channel)
