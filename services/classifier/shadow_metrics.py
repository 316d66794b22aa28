"""The signals of versions side by side, at the classifier: how far they agree, and how fast they are."""

from prometheus_client import CollectorRegistry

from services.classifier.agreement import Agreement
from services.runtime import signals
from services.runtime.instruments import Counter, Histogram


class ShadowMetrics:
    """What comes of the comparison of a model with the version that shadows it; by the model that answers."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._compared = Counter(signals.SHADOW_COMPARED, self.registry)
        self._disagreed = Counter(signals.SHADOW_DISAGREED, self.registry)
        self._dropped = Counter(signals.SHADOW_DROPPED, self.registry)
        self._time = Histogram(signals.SHADOW_CELL_TIME, self.registry)

    def compared(self, model: str, how: Agreement, said: str, shadow_said: str) -> None:
        """Both versions were asked about a cell."""
        self._compared.inc(model, how)
        if how in (Agreement.TYPE_DIFFERS, Agreement.ONE_UNIDENTIFIED):
            self._disagreed.inc(model, said, shadow_said)

    def dropped(self, model: str, reason: str, cells: int) -> None:
        """Cells were not compared."""
        self._dropped.inc(model, reason, by=cells)

    def answered(self, model: str, seconds_per_cell: float) -> None:
        """The model answered for cells that are to be compared."""
        self._time.observe(seconds_per_cell, model, "model")

    def shadowed(self, model: str, seconds_per_cell: float) -> None:
        """Its shadow answered for them."""
        self._time.observe(seconds_per_cell, model, "shadow")
