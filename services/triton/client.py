"""A thin asynchronous client to Triton that speaks in arrays and domain errors."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import grpc
import numpy.typing as npt
import structlog
from tritonclient.grpc import InferInput, InferRequestedOutput, model_config_pb2
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from hemaserve import balancing
from hemaserve.addresses import target
from hemaserve.errors import (
    DeadlineExceeded,
    DomainError,
    Internal,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from services.triton.loading import LoadPolicy, ModelLoader

Array = npt.NDArray[Any]

_log = structlog.get_logger(__name__)

CHECK_TIMEOUT_S = 5.0
"""For calls about models and readiness, which Triton answers from memory."""

_REPEATABLE = [
    # An inference changes nothing; everything else but loading and unloading only asks.
    {"service": "inference.GRPCInferenceService", "method": method}
    for method in ("ModelInfer", "ModelConfig", "ModelMetadata", "RepositoryIndex")
]


@dataclass(frozen=True, slots=True)
class TensorDescription:
    """One input or output of a model.

    Attributes:
        name: its name in requests.
        dtype: Triton's name of the type, e.g. ``UINT8`` or ``FP32``.
        dims: without the batch dim where the model batches; -1 for a dim that a request decides.
    """

    name: str
    dtype: str
    dims: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """What Triton knows of a loaded model.

    Attributes:
        name: its name in requests.
        version: the version that a request without one gets (the highest that is loaded).
        versions: all loaded versions, lowest first.
        platform: e.g. ``ensemble`` or ``onnxruntime_onnx``.
        backend: e.g. ``onnxruntime``; empty for an ensemble.
        max_batch_size: most rows of one request; 0 where the model does not batch.
        inputs: in the order of the configuration.
        outputs: in the order of the configuration.
        parameters: the configuration's free parameters: labels, thresholds, digests.
    """

    name: str
    version: str
    versions: tuple[str, ...]
    platform: str
    backend: str
    max_batch_size: int
    inputs: tuple[TensorDescription, ...]
    outputs: tuple[TensorDescription, ...]
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ModelState:
    """One entry of Triton's repository index.

    Attributes:
        name: the model's name.
        version: a version; empty for a model that was never loaded.
        ready: whether it answers requests.
        reason: why not, in Triton's words: for logs, not for callers.
    """

    name: str
    version: str
    ready: bool
    reason: str = ""


class TritonClient:
    """One gRPC channel to Triton, of one replica or several.

    Use as an async context manager, inside a running event loop.

    Args:
        address: of Triton's gRPC endpoint, see :mod:`hemaserve.addresses`; several replicas serve one repository.
        loads: whether :meth:`load` loads what Triton has not loaded at its start.

    All methods but the two about readiness raise domain errors: :class:`Unavailable` (not reachable, or gone in the
    middle of a call), :class:`DeadlineExceeded`, :class:`NotFound` (no such model is loaded),
    :class:`ResourceExhausted` (its queue is full), :class:`Internal` (anything else; the log has Triton's words).
    """

    def __init__(self, address: str, loads: LoadPolicy = LoadPolicy()) -> None:
        self.address = address
        self._client: Any = _connect(address)
        self._loader = ModelLoader(loads, self._repository, self.ready, self._load)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the channel; calls in flight are cancelled."""
        await self._client.close()

    async def infer(
        self,
        model: str,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        *,
        timeout_s: float | None = None,
        priority: int = 0,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Array]:
        """Runs a model once.

        Cancelling the task that awaits this cancels the request in Triton too.

        Args:
            model: name of a loaded model.
            inputs: arrays by input name, batch first where the model batches; dtypes as the model declares them.
            outputs: names of the outputs to return; no others are computed into the answer.
            timeout_s: seconds from now until the answer is of no use. Sent as the call's deadline and to Triton's
                scheduler, which drops what is still queued then (where the model's queue policy allows it).
            priority: 0 is the model's default, 1 the most urgent of its priority levels.
            headers: gRPC metadata, e.g. a trace context; keys in lower case.

        Returns:
            Arrays by output name, read-only views of the answer.
        """
        if timeout_s is not None and timeout_s <= 0:
            raise DeadlineExceeded("the deadline passed before the network was asked")
        # No await between these two lines and the call: a deadline is relative, and Triton gets the same one.
        timeout_us = None if timeout_s is None else max(1, int(timeout_s * 1e6))
        async with _domain_errors("infer", model):
            result = await self._client.infer(
                model,
                [_input(name, array) for name, array in inputs.items()],
                outputs=[InferRequestedOutput(name) for name in outputs],
                client_timeout=timeout_s,
                timeout=timeout_us,
                priority=priority,
                headers=None if headers is None else dict(headers),
            )
        arrays = {name: result.as_numpy(name) for name in outputs}
        missing = [name for name, array in arrays.items() if array is None]
        if missing:
            _log.error("triton_output_missing", model=model, outputs=missing)
            raise Internal("a network did not answer what it was asked")
        return arrays

    async def server_ready(self, timeout_s: float = CHECK_TIMEOUT_S) -> bool:
        """Whether Triton answers that it is ready. Never raises a domain error; no answer means no."""
        try:
            return bool(await self._client.is_server_ready(client_timeout=timeout_s))
        except InferenceServerException:
            return False

    async def ready(self, model: str, timeout_s: float = CHECK_TIMEOUT_S) -> bool:
        """Whether ``model`` is loaded and answers. Never raises a domain error; no answer means no."""
        try:
            return bool(await self._client.is_model_ready(model, client_timeout=timeout_s))
        except InferenceServerException:
            return False

    async def model_config(self, model: str, timeout_s: float = CHECK_TIMEOUT_S) -> ModelDescription:
        """What Triton knows of a loaded model."""
        deadline = time.monotonic() + timeout_s
        async with _domain_errors("model_config", model):
            config = (await self._client.get_model_config(model, client_timeout=timeout_s)).config
            left_s = max(0.001, deadline - time.monotonic())
            metadata = await self._client.get_model_metadata(model, client_timeout=left_s)
        versions = tuple(sorted(metadata.versions, key=int))
        return ModelDescription(
            name=config.name,
            version=versions[-1] if versions else "",
            versions=versions,
            platform=config.platform,
            backend=config.backend,
            max_batch_size=config.max_batch_size,
            inputs=tuple(_tensor(entry) for entry in config.input),
            outputs=tuple(_tensor(entry) for entry in config.output),
            parameters={key: value.string_value for key, value in config.parameters.items()},
        )

    async def model_states(self, timeout_s: float = CHECK_TIMEOUT_S) -> list[ModelState]:
        """Every model and version of the repository, loaded or not, in order of name and version."""
        async with _domain_errors("models", ""):
            index = await self._client.get_model_repository_index(client_timeout=timeout_s)
        states = [ModelState(m.name, m.version, m.state == "READY", m.reason) for m in index.models]
        return sorted(states, key=lambda state: (state.name, state.version))

    async def load(self, model: str) -> bool:
        """Loads a model of the repository, for whoever names one that Triton did not load at its start.

        Returns:
            Whether the model answers now. It does not when the repository has none of that name, when it cannot be
            loaded, and where Triton's model control is not explicit.

        Raises:
            FailedPrecondition: it is not loaded, and models are not loaded on request here; or it is one of those
                networks that can be made and are not delivered.
        """
        return await self._loader.load(model)

    async def _repository(self) -> set[str]:
        return {state.name for state in await self.model_states()}

    async def _load(self, model: str, timeout_s: float) -> None:
        await self._client.load_model(model, client_timeout=timeout_s)

    async def models(self, timeout_s: float = CHECK_TIMEOUT_S) -> list[str]:
        """Names of the models that are ready, in order."""
        return sorted({state.name for state in await self.model_states(timeout_s) if state.ready})


def _connect(address: str) -> Any:
    options = balancing.options(address, repeatable=_REPEATABLE, max_message_bytes=-1)
    return InferenceServerClient(target(address), channel_args=options)


def _input(name: str, array: Array) -> InferInput:
    tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    return tensor


def _tensor(entry: Any) -> TensorDescription:
    data_type = model_config_pb2.DataType.Name(entry.data_type).removeprefix("TYPE_")
    return TensorDescription(entry.name, data_type, tuple(entry.dims))


@asynccontextmanager
async def _domain_errors(call: str, model: str) -> AsyncIterator[None]:
    """Turns what tritonclient raises into domain errors, and logs Triton's words, which callers never see."""
    try:
        yield
    except InferenceServerException as error:
        domain_error = _domain_error(str(error.status() or ""), error.message() or "")
        level = "error" if isinstance(domain_error, Internal) else "warning"
        getattr(_log, level)(
            "triton_call_failed", call=call, model=model, status=error.status(), message=error.message()
        )
        raise domain_error from error


def _domain_error(status: str, message: str) -> DomainError:
    """The domain error for a status such as ``StatusCode.UNAVAILABLE`` and Triton's message with it.

    Triton has one status for several things, and only its message tells them apart.
    """
    code = status.removeprefix("StatusCode.")
    if "Exceeds maximum queue size" in message:
        return ResourceExhausted("the network's queue is full")
    if code == grpc.StatusCode.DEADLINE_EXCEEDED.name or "Request timeout expired" in message:
        return DeadlineExceeded("the deadline passed while the network was at work")
    if code == grpc.StatusCode.NOT_FOUND.name:
        return NotFound("no such network is loaded", reason="MODEL_NOT_FOUND")
    # CANCELLED reaches us only when Triton drops a request of its own accord: a cancelled task raises CancelledError.
    if (
        code in (grpc.StatusCode.UNAVAILABLE.name, grpc.StatusCode.CANCELLED.name)
        or "Stub process" in message
    ):
        return Unavailable("the networks are not available at the moment", reason="TRITON_UNAVAILABLE")
    return Internal("a network failed")
