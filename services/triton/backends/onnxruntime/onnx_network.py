"""Loads an ONNX file with OpenVINO or ONNX Runtime and runs it on the CPU.

Imported by Triton's Python stub, of which there is one process per model instance: only the standard library, NumPy
and the chosen runtime, and the runtime only when a network is really loaded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]

MODEL_CACHE_ENV = "HEMASERVE_OPENVINO_CACHE"
"""Folder where OpenVINO keeps compiled networks between starts; unset or empty: none."""

DYNAMIC = -1
"""A dim that is only known when a request comes."""

TRITON_TYPES: dict[str, Any] = {
    "TYPE_BOOL": np.bool_,
    "TYPE_UINT8": np.uint8,
    "TYPE_UINT16": np.uint16,
    "TYPE_UINT32": np.uint32,
    "TYPE_UINT64": np.uint64,
    "TYPE_INT8": np.int8,
    "TYPE_INT16": np.int16,
    "TYPE_INT32": np.int32,
    "TYPE_INT64": np.int64,
    "TYPE_FP16": np.float16,
    "TYPE_FP32": np.float32,
    "TYPE_FP64": np.float64,
}


@dataclass(frozen=True)
class Port:
    """One input or output of a network: Triton's data type and the dims as in the ONNX file, batch included."""

    name: str
    data_type: str
    dims: tuple[int, ...]


@dataclass(frozen=True)
class Options:
    """How to run a network."""

    runtime: str = "openvino"
    """``openvino`` or ``onnxruntime``."""
    threads: int = 1
    """Threads of one instance."""
    precision: str = "auto"
    """``auto`` (bf16 where the CPU computes in it, else f32), ``f32`` or ``bf16``. OpenVINO only."""
    memory_arena: bool = True
    """Whether a network keeps the memory that its largest batch took. ONNX Runtime only."""

    @classmethod
    def of(cls, parameters: Mapping[str, str]) -> Options:
        """From a model configuration's parameters; keys that are no business of ours are ignored.

        Raises:
            ValueError: a value is not one of those allowed.
        """
        runtime = parameters.get("runtime", cls.runtime)
        if runtime not in ("openvino", "onnxruntime"):
            raise ValueError(f"parameter runtime is '{runtime}', expected openvino or onnxruntime")
        precision = parameters.get("precision", cls.precision)
        if precision not in ("auto", "f32", "bf16"):
            raise ValueError(f"parameter precision is '{precision}', expected auto, f32 or bf16")
        threads = parameters.get("intra_op_thread_count", str(cls.threads))
        if not threads.isdigit() or int(threads) < 1:
            raise ValueError(f"parameter intra_op_thread_count is '{threads}', expected a number from 1 up")
        arena = parameters.get("enable_mem_arena", "1")
        if arena not in ("0", "1"):
            raise ValueError(f"parameter enable_mem_arena is '{arena}', expected 0 or 1")
        return cls(runtime, int(threads), precision, arena == "1")


class Network(Protocol):
    """A compiled network."""

    @property
    def summary(self) -> str:
        """What it runs on, for the log."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs for ``inputs``; the arrays are the caller's to keep."""


def ports(path: Path, runtime: str) -> tuple[list[Port], list[Port]]:
    """Inputs and outputs of the ONNX file at ``path``.

    Raises:
        Exception: whatever the runtime says of a file that it cannot read.
    """
    if runtime == "onnxruntime":
        return _onnxruntime_ports(_onnxruntime_session(path, Options()))
    return _openvino_ports(_openvino_core().read_model(str(path)))


def load(path: Path, options: Options) -> tuple[Network, list[Port], list[Port]]:
    """Compiles the ONNX file at ``path``; returns the network, its inputs and its outputs."""
    if options.runtime == "onnxruntime":
        session = _onnxruntime_session(path, options)
        inputs, outputs = _onnxruntime_ports(session)
        return _OnnxRuntimeNetwork(session, options.threads), inputs, outputs
    core = _openvino_core()
    model = core.read_model(str(path))
    inputs, outputs = _openvino_ports(model)
    precision = options.precision
    if precision == "auto":
        capable = "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        precision = "bf16" if capable else "f32"
    properties: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": options.threads,
        "NUM_STREAMS": 1,
        # Every instance is a process of its own and would pin itself to the same first core.
        "ENABLE_CPU_PINNING": False,
    }
    cache = os.environ.get(MODEL_CACHE_ENV)
    if cache:
        properties["CACHE_DIR"] = cache
    compiled = core.compile_model(model, "CPU", properties)
    return (
        _OpenVinoNetwork(compiled, [port.name for port in outputs], options.threads, precision),
        inputs,
        outputs,
    )


class _OpenVinoNetwork:
    def __init__(self, compiled: Any, outputs: list[str], threads: int, precision: str) -> None:
        self._request = compiled.create_infer_request()
        self._outputs = outputs
        self.summary = f"openvino, {precision}, {threads} thread(s)"

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        # Inputs are only read while the call lasts, so they may be shared. Outputs are copied: the next run would
        # overwrite them while Triton still has to send them.
        results = self._request.infer(dict(inputs), share_inputs=True, share_outputs=False)
        return dict(zip(self._outputs, results.values(), strict=True))


class _OnnxRuntimeNetwork:
    def __init__(self, session: Any, threads: int) -> None:
        self._session = session
        self._outputs = [output.name for output in session.get_outputs()]
        self.summary = f"onnxruntime, f32, {threads} thread(s)"

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return dict(zip(self._outputs, self._session.run(None, dict(inputs)), strict=True))


def _openvino_core() -> Any:
    try:
        import openvino  # noqa: PLC0415 - half a second that only a network that is loaded is worth
    except ImportError as error:
        raise RuntimeError(f"the runtime openvino cannot be imported: {error}") from error
    return openvino.Core()


def _openvino_ports(model: Any) -> tuple[list[Port], list[Port]]:
    def port(node: Any) -> Port:
        dims = tuple(d.get_length() if d.is_static else DYNAMIC for d in node.get_partial_shape())
        return Port(node.get_any_name(), _triton_type(np.dtype(node.get_element_type().to_dtype())), dims)

    return [port(node) for node in model.inputs], [port(node) for node in model.outputs]


def _onnxruntime_session(path: Path, options: Options) -> Any:
    try:
        import onnxruntime  # type: ignore[import-not-found, unused-ignore] # noqa: PLC0415 - optional

        session_type = onnxruntime.InferenceSession
    # AttributeError: Triton puts the folder above ours on sys.path, and ours is named onnxruntime too.
    except (ImportError, AttributeError) as error:
        raise RuntimeError(
            f"the runtime onnxruntime cannot be imported (openvino is the default): {error}"
        ) from error
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    settings.enable_cpu_mem_arena = options.memory_arena
    return session_type(str(path), settings, providers=["CPUExecutionProvider"])


def _onnxruntime_ports(session: Any) -> tuple[list[Port], list[Port]]:
    names = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16"}

    def port(node: Any) -> Port:
        numpy_name = names.get(node.type, node.type.removeprefix("tensor(").removesuffix(")"))
        dims = tuple(d if isinstance(d, int) else DYNAMIC for d in node.shape)
        return Port(node.name, _triton_type(np.dtype(numpy_name)), dims)

    return [port(node) for node in session.get_inputs()], [port(node) for node in session.get_outputs()]


def _triton_type(dtype: np.dtype[Any]) -> str:
    for name, candidate in TRITON_TYPES.items():
        if np.dtype(candidate) == dtype:
            return name
    raise RuntimeError(f"Triton has no type for {dtype}")
