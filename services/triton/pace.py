"""How much is with Triton at one time, and in how large pieces: little enough that what is urgent is never far behind.

Triton runs what it has begun to the end. So the time of the largest batch, and of what waits before it in Triton's own
queues, is what a STAT request may have to wait for, and this keeps both to a number of milliseconds. What a row of a
network takes is measured all the time.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from services.runtime.admission import Admission, Capacity
from services.runtime.admission_metrics import AdmissionMetrics
from services.runtime.caller import current_caller
from services.runtime.remote import Deadline
from services.runtime.span_signals import TRITON_CALL
from services.runtime.tracing import Calling
from services.triton.client import Array, TritonClient
from services.triton.metrics import TritonMetrics
from services.triton.priorities import TRITON_PRIORITY

_MEMORY: Final = 0.9
"""What a measured time keeps of its weight with each further one: about the last ten count."""


@dataclass(frozen=True, slots=True)
class PaceLimits:
    """What may be with Triton.

    Attributes:
        max_batch_ms: time that one batch may take, in milliseconds; larger requests are divided.
        batches_at_once: how many batches of that time may be with Triton at one time; one more is kept for STAT.
    """

    max_batch_ms: int
    batches_at_once: int


class TritonPace:
    """Sends batches to Triton in the order of their callers' priorities, and no more of them than it needs.

    Every network has a pace of its own, as it has instances of its own: one that hangs holds up no other.

    Args:
        triton: where the networks are.
        metrics: where the figures of waiting go; capacities are called `triton_ms/` and the network's name. Those of
            Triton's answers go to the same registry.
        clock: seconds; monotonic.
    """

    def __init__(
        self,
        triton: TritonClient,
        limits: PaceLimits,
        metrics: AdmissionMetrics | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._triton = triton
        self._limits = limits
        self._metrics = metrics or AdmissionMetrics()
        self._asking = TritonMetrics(self._metrics.registry)
        self._clock = clock
        self._networks: dict[str, _Network] = {}

    def rows(self, model: str, max_batch_size: int) -> int:
        """How many rows of a model make a batch that keeps to the time; all that it takes while none was measured."""
        row_ms = self._network(model).row_ms
        in_time = int(self._limits.max_batch_ms / row_ms) if row_ms else max_batch_size
        return max(1, min(max_batch_size, in_time))

    async def infer(
        self, model: str, inputs: Mapping[str, Array], outputs: Sequence[str], *, timeout_s: float
    ) -> dict[str, Array]:
        """Runs a model once, when it is the caller's turn.

        Waits patiently: how many come here is bounded by those who hold the pixels.

        Raises:
            DomainError: what `TritonClient.infer` raises.
        """
        deadline = Deadline(timeout_s)
        rows = len(next(iter(inputs.values())))
        network = self._network(model)
        cost_ms = math.ceil(rows * network.row_ms)
        async with network.milliseconds.admitted(cost_ms, deadline=deadline, patient=True):
            began = self._clock()
            with self._asking.asked(model, rows), Calling(TRITON_CALL, model=model, rows=rows) as calling:
                answer = await self._triton.infer(
                    model,
                    inputs,
                    outputs,
                    timeout_s=deadline.remaining_s(),
                    priority=TRITON_PRIORITY[current_caller.get().priority],
                    # Triton records whatever it is told of.
                    headers=dict(calling.metadata) if calling.sampled else None,
                )
            network.note(rows, began, self._clock())
            return answer

    def _network(self, model: str) -> _Network:
        if model not in self._networks:
            one, several = self._limits.max_batch_ms, self._limits.batches_at_once
            capacity = Capacity(
                f"triton_ms/{model}",
                one * (several + 1),
                waiting=0,
                kept_for_stat=one,
                beside_stat=0,
                stage="turn",
            )
            admission = Admission(capacity, self._metrics, clock=self._clock)
            self._networks[model] = _Network(admission, instances=max(1, several - 1))
        return self._networks[model]


class _Network:
    """One network: whose turn it is, and what a row takes, on average over the latest batches.

    Args:
        instances: how many batches it computes at one time, about.
    """

    def __init__(self, milliseconds: Admission, *, instances: int) -> None:
        self.milliseconds = milliseconds
        self._rows = 0.0
        self._ms = 0.0
        self._ended = deque([-math.inf] * instances, maxlen=instances)

    @property
    def row_ms(self) -> float:
        """Milliseconds of one instance; 0 while nothing was measured."""
        return self._ms / self._rows if self._rows else 0.0

    def note(self, rows: int, asked: float, answered: float) -> None:
        """Count a batch, from when it was asked for to its answer.

        It was in Triton's queue at first if all instances had others before it: until the one ended that ended as many
        batches ago as there are instances.
        """
        began = max(asked, self._ended[0])
        self._ended.append(answered)
        self._rows = _MEMORY * self._rows + rows
        self._ms = _MEMORY * self._ms + (answered - began) * 1000
