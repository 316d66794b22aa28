"""What KEDA adds to Kubernetes' autoscaler. Pure: it is told the time.

KEDA gives its triggers to an HPA as external metrics, which does all scaling between 1 and the maximum; from and to
zero it scales itself. Sources: https://keda.sh/docs/latest/concepts/scaling-deployments/ (activation, cooldown),
https://keda.sh/docs/latest/reference/scaledobject-spec/ (pollingInterval, cooldownPeriod, minReplicaCount,
idleReplicaCount, fallback), https://keda.sh/docs/latest/scalers/prometheus/ (threshold, activationThreshold,
ignoreNullValues), and for what they leave open pkg/fallback/fallback.go of kedacore/keda.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from benchmarks.autoscaling import hpa


@dataclass(frozen=True, slots=True)
class Trigger:
    """A Prometheus trigger of metricType AverageValue: its value over the replicas is held at a threshold.

    Attributes:
        name: which query it is.
        threshold: what each replica should have.
        activation: activationThreshold: above it there is something to do.
        ignores_null: ignoreNullValues: an empty answer counts as 0, and otherwise as an error.
    """

    name: str
    threshold: float
    activation: float = 0.0
    ignores_null: bool = True


class Failing(StrEnum):
    """How many replicas there are while a trigger fails: those of the fallback, or what is there if that is more."""

    STATIC = "static"
    CURRENT_IF_HIGHER = "currentReplicasIfHigher"


@dataclass(frozen=True, slots=True)
class Fallback:
    """Replicas when a trigger has failed more often than `failure_threshold` times in a row."""

    failure_threshold: int
    replicas: int
    behavior: Failing = Failing.STATIC


@dataclass(frozen=True, slots=True)
class ScaledObject:
    """spec of a ScaledObject; names are KEDA's.

    Attributes:
        triggers: those of Prometheus.
        cores: of a trigger of type cpu and metricType AverageValue: what each pod is to use on average. With it and
            no other trigger, all is left to the HPA, and this is one of Kubernetes' own.
    """

    triggers: tuple[Trigger, ...] = ()
    cores: float | None = None
    min_replica_count: int = 0
    max_replica_count: int = 100
    polling_interval_s: float = 30.0
    cooldown_period_s: float = 300.0
    idle_replica_count: int | None = None
    fallback: Fallback | None = None
    behavior: hpa.Behavior = field(default_factory=hpa.Behavior)


class ReadError(Exception):
    """A query could not be answered."""


Reading = float | None | ReadError
"""What a query gave: a number, nothing (null), or no answer at all."""


class Scaler:
    """KEDA's operator and metrics adapter, with the HPA that they feed, for one workload.

    Call `poll` at each polling interval and `sync` at each of the HPA's; both return the replicas to ask for.
    """

    def __init__(self, spec: ScaledObject) -> None:
        self._spec = spec
        # An HPA knows no zero: below one replica it is switched off.
        self._hpa = hpa.Controller(max(1, spec.min_replica_count), spec.max_replica_count, spec.behavior)
        self._failures = {trigger.name: 0 for trigger in spec.triggers}
        self._active_at_s = 0.0

    def poll(self, now_s: float, current: int, readings: Mapping[str, Reading]) -> int:
        """Whether there is anything to do at all: from zero, and, after the cooldown, to zero."""
        spec = self._spec
        values = [self._value(trigger, readings) for trigger in spec.triggers]
        active = any(
            value is not None and value > trigger.activation
            for trigger, value in zip(spec.triggers, values, strict=True)
        )
        if active:
            self._active_at_s = now_s
            return current if current > (spec.idle_replica_count or 0) else max(1, spec.min_replica_count)
        if any(value is None for value in values) and spec.fallback is not None:
            return current
        rest = spec.min_replica_count if spec.idle_replica_count is None else spec.idle_replica_count
        may_rest = spec.min_replica_count == 0 or spec.idle_replica_count is not None
        if may_rest and current > rest and now_s - self._active_at_s >= spec.cooldown_period_s:
            return rest
        return max(current, spec.min_replica_count) if not may_rest else current

    def sync(
        self,
        now_s: float,
        current: int,
        readings: Mapping[str, Reading],
        pods: Sequence[hpa.PodMetric] = (),
    ) -> int:
        """What the HPA makes of the triggers, and of the cores that each pod uses: the largest of what they ask for."""
        if current == 0:
            return 0
        proposals = [self._proposal(trigger, readings, current) for trigger in self._spec.triggers]
        if self._spec.cores is not None:
            proposals.append(hpa.for_pods(pods, self._spec.cores, current=current))
        return self._hpa.decide(now_s, current, hpa.largest(proposals, current=current))

    def _proposal(self, trigger: Trigger, readings: Mapping[str, Reading], current: int) -> int | None:
        value = self._value(trigger, readings)
        if value is None:
            self._failures[trigger.name] += 1
            fallback = self._spec.fallback
            if fallback is None or self._failures[trigger.name] <= fallback.failure_threshold:
                return None
            stays = fallback.behavior is Failing.CURRENT_IF_HIGHER
            value = trigger.threshold * (max(current, fallback.replicas) if stays else fallback.replicas)
        else:
            self._failures[trigger.name] = 0
        return hpa.for_average_value(value, trigger.threshold, current=current)

    @staticmethod
    def _value(trigger: Trigger, readings: Mapping[str, Reading]) -> float | None:
        """The reading as a number; None for an error."""
        reading = readings[trigger.name]
        if isinstance(reading, ReadError):
            return None
        if reading is None:
            return 0.0 if trigger.ignores_null else None
        return reading
