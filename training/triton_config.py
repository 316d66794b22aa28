"""Triton's configuration of each exported model, written from one description.

Each model folder gets ``config.pbtxt`` (what NVIDIA's image takes by default) and complete alternatives in
``configs/``, of which ``--model-config-name`` chooses one: ``embedded`` (Triton's wheel on loopback), ``tiny`` (the
same with the least memory), ``cpu`` and ``gpu`` (NVIDIA's image). They differ in how the network is run only;
``parameters`` carry what the services need to know about the model, and the services read them through Triton.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output. `dims` leave out the batch axis."""

    name: str
    data_type: str
    dims: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class EnsembleStep:
    """One step of an ensemble; the maps go from the model's tensor names to the ensemble's."""

    model: str
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What all variants of a model's configuration have in common.

    `inner` are those tensors between an ensemble's steps that it does not answer, unless to check receipts.
    """

    name: str
    max_batch_size: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: Mapping[str, str]
    steps: tuple[EnsembleStep, ...] = ()
    inner: tuple[TensorSpec, ...] = ()
    max_queue_delay_us: int = 0


@dataclass(frozen=True, slots=True)
class Variant:
    """Where a model runs: instances of it, threads of each, and the most rows that it takes at once, as such or as
    pixels of the first input together.

    `receipts` is for our own backend, which says of each row what it was (services/triton/receipts.py): its processes
    share memory with Triton.
    """

    instance_kind: str
    instances: int
    parameters: Mapping[str, str] = field(default_factory=dict)
    most_rows: int | None = None
    most_pixels: int | None = None
    receipts: bool = False


#: As many instances as cores with one thread each kept more of the in-process speed than fewer with more threads.
_ONE_THREAD = {"intra_op_thread_count": "1", "inter_op_thread_count": "1"}

#: Least memory: one instance, which gives back what a batch took, and batches of one, no slower on one thread. Four
#: tenths of OpenVINO's speed where the CPU computes in bf16, two thirds to nine tenths of it elsewhere.
_SMALL = _ONE_THREAD | {"runtime": "onnxruntime", "enable_mem_arena": "0"}

#: What one core computes at once before its caches are too small for what lies between the layers: YOLOv8n of 512 px
#: did 44, 49, 39 and 29 squares a second on two cores in batches of 1, 2, 4 and 8.
_CACHED_PIXELS = 600_000

#: The same for crops: six classifiers did 3 to 13% more of 96 to 128 px in batches of 16 or 32 than of 64.
_CACHED_CROPS = 32

VARIANTS: Mapping[str, Variant] = {
    "tiny": Variant("KIND_CPU", 1, _SMALL, most_rows=1, receipts=True),
    "embedded": Variant(
        "KIND_CPU", 2, _ONE_THREAD, most_rows=_CACHED_CROPS, most_pixels=_CACHED_PIXELS, receipts=True
    ),
    "cpu": Variant("KIND_CPU", 2, _ONE_THREAD),
    "gpu": Variant("KIND_GPU", 1),
}
DEFAULT_VARIANT = "cpu"

#: Requests of one priority that may wait for one network; Triton refuses further ones at once. The services keep these
#: queues nearly empty (services/runtime/admission.py): only many replicas on one Triton ever get here.
MAX_QUEUE_SIZE = 512

#: The same for batch work, which can wait best where it came from.
MAX_BATCH_QUEUE_SIZE = 128

#: The output of our backend with the checksum of each row's inputs.
RECEIPT = "received"
_RECEIPT = TensorSpec(RECEIPT, "TYPE_UINT32", (1,))

#: STAT, routine and batch are Triton's levels 1, 2 and 3 (services/triton/priorities.py).
PRIORITY_LEVELS = 3
DEFAULT_PRIORITY_LEVEL = 2


def render(spec: ModelSpec, variant: Variant) -> str:
    """The configuration in protobuf's text format (Triton's ``model_config.proto``)."""
    lines = [
        "# Written by `python -m training export`; edits are lost.",
        f"name: {_quote(spec.name)}",
        'platform: "ensemble"' if spec.steps else 'backend: "onnxruntime"',
        f"max_batch_size: {rows_at_once(spec, variant)}",
    ]
    lines += [_tensor("input", tensor) for tensor in spec.inputs]
    outputs, steps = spec.outputs, spec.steps
    if variant.receipts:
        outputs, steps = _with_receipts(spec)
    lines += [_tensor("output", tensor) for tensor in outputs]
    parameters = dict(spec.parameters)
    if spec.steps:
        lines += ["ensemble_scheduling {", *(_step(step) for step in steps), "}"]
    else:
        lines += [
            f"instance_group [ {{ kind: {variant.instance_kind} count: {variant.instances} }} ]",
            batching(spec.max_queue_delay_us),
        ]
        parameters |= variant.parameters
    lines += [_parameter(key, value) for key, value in parameters.items()]
    return "\n".join(lines) + "\n"


def rows_at_once(spec: ModelSpec, variant: Variant) -> int:
    """Most rows of one batch."""
    limits = [spec.max_batch_size, variant.most_rows]
    height_width = spec.inputs[0].dims[:-1]
    if variant.most_pixels is not None and len(height_width) == 2:  # others have no images
        limits.append(max(1, variant.most_pixels // math.prod(height_width)))
    return min(limit for limit in limits if limit is not None)


def _with_receipts(spec: ModelSpec) -> tuple[tuple[TensorSpec, ...], tuple[EnsembleStep, ...]]:
    """Outputs and steps of a model whose networks say what they were shown, with all that is needed to check it."""
    if not spec.steps:
        return (*spec.outputs, _RECEIPT), ()
    steps = tuple(
        replace(step, outputs={**step.outputs, RECEIPT: f"{step.model}_{RECEIPT}"}) for step in spec.steps
    )
    receipts = tuple(replace(_RECEIPT, name=step.outputs[RECEIPT]) for step in steps)
    return (*spec.outputs, *spec.inner, *receipts), steps


def write(spec: ModelSpec, folder: Path) -> None:
    """Write ``config.pbtxt`` and every variant below ``configs/`` into a model's folder."""
    (folder / "configs").mkdir(parents=True, exist_ok=True)
    for name, variant in VARIANTS.items():
        (folder / "configs" / f"{name}.pbtxt").write_text(render(spec, variant))
    (folder / "config.pbtxt").write_text(render(spec, VARIANTS[DEFAULT_VARIANT]))


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=True)


def _tensor(role: str, tensor: TensorSpec) -> str:
    dims = ", ".join(map(str, tensor.dims))
    return f"{role} [ {{ name: {_quote(tensor.name)} data_type: {tensor.data_type} dims: [ {dims} ] }} ]"


def batching(max_queue_delay_us: int) -> str:
    """How requests to one network are queued and joined."""
    settings = [
        f"max_queue_delay_microseconds: {max_queue_delay_us}",
        f"priority_levels: {PRIORITY_LEVELS}",
        f"default_priority_level: {DEFAULT_PRIORITY_LEVEL}",
        f"default_queue_policy {{ {_queue_policy(MAX_QUEUE_SIZE)} }}",
        f"priority_queue_policy {{ key: {PRIORITY_LEVELS} value: {{ {_queue_policy(MAX_BATCH_QUEUE_SIZE)} }} }}",
    ]
    return f"dynamic_batching {{ {' '.join(settings)} }}"


def _queue_policy(size: int) -> str:
    # A request carries its caller's deadline as its time-out: what nobody waits for any more is not computed.
    return f"timeout_action: REJECT allow_timeout_override: true max_queue_size: {size}"


def _step(step: EnsembleStep) -> str:
    maps = [
        f"    {role}_map {{ key: {_quote(key)} value: {_quote(value)} }}"
        for role, pairs in (("input", step.inputs), ("output", step.outputs))
        for key, value in pairs.items()
    ]
    return "\n".join(
        ["  step {", f"    model_name: {_quote(step.model)}", "    model_version: -1", *maps, "  }"]
    )


def _parameter(key: str, value: str) -> str:
    return f"parameters {{ key: {_quote(key)} value: {{ string_value: {_quote(value)} }} }}"
