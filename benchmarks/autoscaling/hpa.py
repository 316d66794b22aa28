"""What Kubernetes' HorizontalPodAutoscaler decides. Pure: it is told the time.

Sources: https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/ ("Algorithm details", "Configurable
scaling behavior"), and for what that page leaves open the controller, pkg/controller/podautoscaler of
kubernetes/kubernetes: `replica_calculator.go` and, of `horizontal.go`, what begins with `normalizeDesiredReplicas`.
"""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

SYNC_PERIOD_S: Final = 15.0
"""--horizontal-pod-autoscaler-sync-period."""

TOLERANCE: Final = 0.1
"""--horizontal-pod-autoscaler-tolerance: a ratio so near to 1 changes nothing."""


class PolicyType(StrEnum):
    """What a policy's value counts."""

    PODS = "Pods"
    PERCENT = "Percent"


class Select(StrEnum):
    """Which of several policies counts: that which allows the greatest change, the least one, or none at all."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


@dataclass(frozen=True, slots=True)
class Policy:
    """How much may change within a time."""

    type: PolicyType
    value: int
    period_s: float


@dataclass(frozen=True, slots=True)
class Rules:
    """How fast it may go in one direction.

    Attributes:
        window_s: stabilizationWindowSeconds: the least change that was recommended within it counts.
        policies: see `Policy`.
        select: which of them counts.
    """

    window_s: float
    policies: tuple[Policy, ...]
    select: Select = Select.MAX


DEFAULT_UP: Final = Rules(0.0, (Policy(PolicyType.PERCENT, 100, 15.0), Policy(PolicyType.PODS, 4, 15.0)))
DEFAULT_DOWN: Final = Rules(300.0, (Policy(PolicyType.PERCENT, 100, 15.0),))
"""What Kubernetes takes where nothing is said."""


@dataclass(frozen=True, slots=True)
class Behavior:
    """spec.behavior."""

    up: Rules = DEFAULT_UP
    down: Rules = DEFAULT_DOWN


@dataclass(frozen=True, slots=True)
class PodMetric:
    """What is known of one pod.

    Attributes:
        value: its metric, in the target's unit; None when it is missing.
        ready: whether it counts as ready; for a processor's metric that takes a metric from after it became ready.
    """

    value: float | None
    ready: bool = True


def for_pods(pods: Sequence[PodMetric], target: float, *, current: int) -> int | None:
    """Replicas by the mean of the pods' own metrics, such as the cores that they use (type AverageValue).

    Args:
        pods: those that are neither being deleted nor failed.
        target: what each should have; a pod without a metric is taken for it when fewer would do.
        current: replicas that are asked for now.

    Returns:
        None when no ready pod has a metric, and so nothing can be said.
    """
    known = [pod.value for pod in pods if pod.ready and pod.value is not None]
    if not known:
        return None
    missing = sum(pod.ready and pod.value is None for pod in pods)
    unready = sum(not pod.ready for pod in pods)
    ratio = sum(known) / len(known) / target
    up_with_unready = bool(unready) and ratio > 1
    if not up_with_unready and not missing:
        return current if _tolerable(ratio) else math.ceil(_cut(ratio * len(known)))
    if missing and ratio != 1:
        known += [target if ratio < 1 else 0.0] * missing
    if up_with_unready:
        known += [0.0] * unready
    anew = sum(known) / len(known) / target
    if _tolerable(anew) or (ratio < 1 < anew) or (anew < 1 < ratio):
        return current
    wanted = math.ceil(_cut(anew * len(known)))
    if (anew < 1 and wanted > current) or (anew > 1 and wanted < current):
        return current
    return wanted


def for_average_value(total: float, target: float, *, current: int) -> int:
    """Replicas by one metric of all pods together, of which each is to have `target` (type AverageValue)."""
    if current and _tolerable(total / (target * current)):
        return current
    return math.ceil(_cut(total / target))


def largest(proposals: Iterable[int | None], *, current: int) -> int:
    """What several metrics lead to: the largest; while one of them is not known, at least what there is."""
    proposed = list(proposals)
    known = [each for each in proposed if each is not None]
    if not known:
        return current
    most = max(known)
    return current if len(known) < len(proposed) and most < current else most


def _tolerable(ratio: float) -> bool:
    return abs(1 - ratio) <= TOLERANCE + 1e-9


def _cut(value: float) -> float:
    """Without what rounding has added, so that 3 pods of 0.1 are not 4 pods."""
    return round(value, 9)


@dataclass
class Controller:
    """What the autoscaler of one workload remembers: its recommendations and the changes that it made.

    Attributes:
        least: minReplicas.
        most: maxReplicas.
        behavior: how fast it may go.
    """

    least: int
    most: int
    behavior: Behavior = field(default_factory=Behavior)
    _recommended: deque[tuple[float, int]] = field(default_factory=deque)
    _changes: deque[tuple[float, int]] = field(default_factory=deque)

    def decide(self, now_s: float, current: int, wanted: int) -> int:
        """Replicas to ask for from now on.

        Args:
            current: those that are asked for now.
            wanted: what the metrics lead to.
        """
        allowed = self._bounded(now_s, current, self._stabilized(now_s, current, wanted))
        if allowed != current:
            self._changes.append((now_s, allowed - current))
        return allowed

    def _stabilized(self, now_s: float, current: int, wanted: int) -> int:
        up, down = self.behavior.up.window_s, self.behavior.down.window_s
        while self._recommended and self._recommended[0][0] <= now_s - max(up, down):
            self._recommended.popleft()
        least = min([wanted, *(each for at, each in self._recommended if at > now_s - up)])
        most = max([wanted, *(each for at, each in self._recommended if at > now_s - down)])
        self._recommended.append((now_s, wanted))
        return min(max(current, least), most)

    def _bounded(self, now_s: float, current: int, wanted: int) -> int:
        longest = max(
            policy.period_s for policy in (*self.behavior.up.policies, *self.behavior.down.policies)
        )
        while self._changes and self._changes[0][0] <= now_s - longest:
            self._changes.popleft()
        if wanted > current:
            # What was changed already in a policy's period may be more than it allows: then it stays as it is.
            limit = max(current, self._limit(now_s, current, self.behavior.up, 1))
            return min(wanted, limit, self.most)
        if wanted < current:
            limit = min(current, self._limit(now_s, current, self.behavior.down, -1))
            return max(wanted, limit, self.least)
        return min(max(wanted, self.least), self.most)

    def _limit(self, now_s: float, current: int, rules: Rules, direction: int) -> int:
        if rules.select is Select.DISABLED:
            return current
        limits = []
        for policy in rules.policies:
            start = current - sum(change for at, change in self._changes if at > now_s - policy.period_s)
            if policy.type is PolicyType.PODS:
                limits.append(start + direction * policy.value)
            else:
                share = _cut(start * (1 + direction * policy.value / 100))
                limits.append(math.ceil(share) if direction > 0 else math.floor(share))
        farthest = max if (rules.select is Select.MAX) == (direction > 0) else min
        return farthest(limits)
