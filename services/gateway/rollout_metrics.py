"""The signals of versions side by side, at the gateway: who was chosen to answer."""

from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge


class Role(StrEnum):
    """As what a version was chosen."""

    STABLE = "stable"
    CANDIDATE = "candidate"
    OTHER = "other"
    """Neither: another one was chosen and is not there, or the smear began with one that the file no longer names."""


class RolloutMetrics:
    """Which versions smears and calls were given to, and whether the rollout file can be used."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._assigned = Counter(
            "hemaserve_rollout_assigned",
            "Smears, and calls that belong to none, by the model asked for, the version given and its role.",
            labelnames=("model", "version", "role"),
            registry=self.registry,
        )
        self._usable = Gauge(
            "hemaserve_rollout_file_usable",
            "1 while the rollout file can be used, or there is none; 0 while what it said before still holds.",
            registry=self.registry,
        )
        self._usable.set(1)

    def assigned(self, model: str, version: str, role: Role) -> None:
        """A smear or call was given to a version."""
        self._assigned.labels(model, version, role.value).inc()

    def file_usable(self, usable: bool) -> None:
        """The file was read, or could not be."""
        self._usable.set(int(usable))
