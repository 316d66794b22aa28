"""The signals of what is said about cells: what drifts when specimens, stains or networks change."""

from collections import Counter as Counts
from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from hemaserve.cells import UnidentifiedReason
from services.classifier.decision import Decision
from services.classifier.ensemble import Answer
from services.runtime import signals
from services.runtime.instruments import Counter, Histogram


class ClassifierMetrics:
    """How cells are named, how surely, and how fast.

    Args:
        registry: where they are kept; one of their own by default.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self._duration = Histogram(signals.CLASSIFY_DURATION, registry)
        self._classified = Counter(signals.CELLS_CLASSIFIED, registry)
        self._identified = Counter(signals.CELLS_IDENTIFIED, registry)
        self._unidentified = Counter(signals.CELLS_UNIDENTIFIED, registry)
        self._doubted = Counter(signals.CELLS_DOUBTED, registry)
        self._confidence = Histogram(signals.CELL_CONFIDENCE, registry)
        self._disagreement = Histogram(signals.DISAGREEMENT, registry)
        self._degraded = Counter(signals.DEGRADED, registry)

    def answered(self, seconds: float) -> None:
        """A request was answered after this time."""
        self._duration.observe(seconds)

    def named(self, answer: Answer, decisions: Sequence[Decision]) -> None:
        """A model answered for some cells, and this was made of it."""
        model = answer.model.name
        types = Counts(decision.primary_type for decision in decisions if decision.identified)
        doubts = Counts(reason for decision in decisions for reason in decision.reasons)
        self._classified.inc(model, by=len(decisions))
        self._unidentified.inc(model, by=len(decisions) - types.total())
        for cell_type, count in types.items():
            self._identified.inc(model, cell_type, by=count)
        for reason in UnidentifiedReason:
            self._doubted.inc(model, reason, by=doubts[reason])
        for decision in decisions:
            self._confidence.observe(decision.probability, model)
        if answer.disagreements is not None:
            for disagreement in answer.disagreements.tolist():
                self._disagreement.observe(disagreement, model)
        self._degraded.inc(model, by=int(answer.degraded))
