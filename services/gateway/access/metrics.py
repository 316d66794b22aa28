"""The signals of the gateway's door."""

from prometheus_client import CollectorRegistry

from services.runtime import signals
from services.runtime.instruments import Counter, Gauge


class AccessMetrics:
    """Refusals by reason, and whether what the door depends on is well."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.refused = Counter(signals.ACCESS_REFUSED, registry)
        self.throttled_seconds = Counter(signals.ACCESS_THROTTLED, registry).series()
        self.file_usable = Gauge(signals.ACCESS_FILE_USABLE, registry).series()
        self.audit_lost = Counter(signals.AUDIT_LOST, registry).series()
