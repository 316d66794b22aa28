"""Whether an answer is about what was asked: networks say what they were shown, and this compares it.

Triton hands tensors to its Python stubs, and takes their answers back, through shared memory. A stub that was frozen
and goes on after Triton gave it up reads and writes there what is another request's by now: seen, and it cost a field
the cells of another. So the backend adds to each row the checksum of what the network got for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import structlog
from numpy.typing import NDArray

from hemaserve.errors import Unavailable
from services.triton.backends.onnxruntime.onnx_config import RECEIPT_OUTPUT
from services.triton.backends.onnxruntime.onnx_receipts import checksums

_log = structlog.get_logger(__name__)

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What one network says that it was shown.

    Attributes:
        output: the output that says it, by the name that a caller knows.
        shown: the tensors that it was shown, by the names that a caller knows, in the order of the network's own names
            for them.
    """

    output: str
    shown: tuple[str, ...]


def receipts_of(config: Any) -> tuple[Receipt, ...]:
    """The receipts that a model gives: one, one for each step of an ensemble, or none.

    Args:
        config: Triton's `ModelConfig`.
    """
    outputs = {tensor.name for tensor in config.output}
    own = Receipt(RECEIPT_OUTPUT, tuple(sorted(tensor.name for tensor in config.input)))
    steps = [
        Receipt(step.output_map[RECEIPT_OUTPUT], tuple(name for _, name in sorted(step.input_map.items())))
        for step in config.ensemble_scheduling.step
        if RECEIPT_OUTPUT in step.output_map
    ]
    return tuple(receipt for receipt in (own, *steps) if receipt.output in outputs)


def needed(receipts: Iterable[Receipt], inputs: Iterable[str]) -> set[str]:
    """The outputs that must be asked for so that these receipts can be checked."""
    return {name for receipt in receipts for name in (receipt.output, *receipt.shown)} - set(inputs)


def check(model: str, receipts: Iterable[Receipt], inputs: Tensors, answer: Tensors) -> None:
    """Return when every network was shown what it should have been.

    Args:
        inputs: what was asked, arrays by name, batch first.
        answer: what came back, with all that is `needed`.

    Raises:
        Unavailable: one was shown something else; asked again it will be right.
    """
    known = {**answer, **inputs}
    # The members of an ensemble are all shown the same.
    expected: dict[tuple[str, ...], NDArray[Any]] = {}
    for receipt in receipts:
        if receipt.shown not in expected:
            expected[receipt.shown] = checksums([known[name] for name in receipt.shown])
        if not np.array_equal(answer[receipt.output], expected[receipt.shown]):
            _log.error("triton_answer_of_another_request", model=model, receipt=receipt.output)
            raise Unavailable("a network answered for something else than it was asked", reason="MIXED_UP")
