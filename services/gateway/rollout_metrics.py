"""The signals of versions side by side, at the gateway: which was chosen to answer."""

from enum import StrEnum

from prometheus_client import CollectorRegistry

from services.runtime import signals
from services.runtime.instruments import Counter, Gauge


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
        self._assigned = Counter(signals.ROLLOUT_ASSIGNED, self.registry)
        self._usable = Gauge(signals.ROLLOUT_FILE_USABLE, self.registry).series()
        self._usable.set(1)

    def assigned(self, model: str, version: str, role: Role) -> None:
        """A smear or call was given to a version."""
        self._assigned.inc(model, version, role)

    def file_usable(self, usable: bool) -> None:
        """The file was read, or could not be."""
        self._usable.set(int(usable))
