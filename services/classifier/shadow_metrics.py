"""The signals of versions side by side, at the classifier: how far they agree, and how fast they are."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from services.classifier.agreement import Agreement

CELL_BUCKETS_S: Final = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class ShadowMetrics:
    """What comes of the comparison of a model with the version that shadows it. Labels: the model that answers."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._compared = Counter(
            "hemaserve_shadow_cells_compared",
            "Cells that a shadow version was asked about too, by how far both agree.",
            labelnames=("model", "agreement"),
            registry=self.registry,
        )
        self._disagreed = Counter(
            "hemaserve_shadow_cells_disagreed",
            "Those of them about whose primary type both disagree, by what each said.",
            labelnames=("model", "said", "shadow_said"),
            registry=self.registry,
        )
        self._dropped = Counter(
            "hemaserve_shadow_cells_dropped",
            "Cells that were to be compared and were not, by reason.",
            labelnames=("model", "reason"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "hemaserve_shadow_cell_seconds",
            "Time that an answer took for each of its cells, of the model that answered and of its shadow.",
            labelnames=("model", "by"),
            buckets=CELL_BUCKETS_S,
            registry=self.registry,
        )

    def compared(self, model: str, how: Agreement, said: str, shadow_said: str) -> None:
        """Both versions were asked about a cell."""
        self._compared.labels(model, how.value).inc()
        if how in (Agreement.TYPE_DIFFERS, Agreement.ONE_UNIDENTIFIED):
            self._disagreed.labels(model, said, shadow_said).inc()

    def dropped(self, model: str, reason: str, cells: int) -> None:
        """Cells were not compared."""
        self._dropped.labels(model, reason).inc(cells)

    def answered(self, model: str, seconds_per_cell: float) -> None:
        """The model answered for cells that are to be compared."""
        self._seconds.labels(model, "model").observe(seconds_per_cell)

    def shadowed(self, model: str, seconds_per_cell: float) -> None:
        """Its shadow answered for them."""
        self._seconds.labels(model, "shadow").observe(seconds_per_cell)
