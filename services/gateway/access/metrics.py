"""The signals of the gateway's door."""

from prometheus_client import CollectorRegistry, Counter, Gauge


class AccessMetrics:
    """Refusals by reason, and whether what the door depends on is well."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.refused = Counter(
            "hemaserve_access_refused",
            "Calls refused at the gateway's door, by the reason that the audit log gives.",
            labelnames=("reason",),
            registry=registry,
        )
        self.throttled_seconds = Counter(
            "hemaserve_access_throttled_seconds",
            "Time that messages of streams waited for their client's quota, in seconds.",
            registry=registry,
        )
        self.file_usable = Gauge(
            "hemaserve_access_file_usable",
            "1 while the access file can be used; 0 while what it said before still holds.",
            registry=registry,
        )
        self.audit_lost = Counter(
            "hemaserve_audit_records_lost",
            "Calls that the audit log could not take down.",
            registry=registry,
        )
