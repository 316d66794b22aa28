"""A thin asynchronous client to Triton that speaks in arrays and domain errors."""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import numpy.typing as npt
import structlog
from tritonclient.grpc import InferInput, InferRequestedOutput, model_config_pb2
from tritonclient.utils import np_to_triton_dtype

from hemaserve.errors import DeadlineExceeded, DomainError, Internal, NotFound, Unavailable
from services.runtime.remote import Deadline
from services.runtime.repeating import RetryBudget, repeated
from services.runtime.tasks import first_of
from services.runtime.tls_files import TlsFiles
from services.triton.descriptions import ModelDescription, ModelState, described
from services.triton.errors import check_errors, domain_errors
from services.triton.loading import LoadPolicy, ModelLoader
from services.triton.receipts import Receipt, receipts_of
from services.triton.receipts import check as check_receipts
from services.triton.receipts import needed as receipt_needs
from services.triton.replicas import Replicas, answers_of, connect, first_answer, says_yes

Array = npt.NDArray[Any]

_log = structlog.get_logger(__name__)

CHECK_TIMEOUT_S = 5.0
"""For calls about models and readiness, which Triton answers from memory."""


class TritonClient:
    """One gRPC channel to Triton, of one replica or several.

    Use as an async context manager, inside a running event loop.

    Args:
        address: of Triton's gRPC endpoint, see :mod:`hemaserve.addresses`; several replicas serve one repository.
        loads: whether :meth:`load` loads what Triton has not loaded at its start.
        tls: our certificate and key, and Triton's authorities; None: no TLS.

    All methods but the two about readiness raise domain errors: :class:`Unavailable` (not reachable, or gone in the
    middle of a call), :class:`DeadlineExceeded`, :class:`NotFound` (no such model is loaded),
    :class:`ResourceExhausted` (its queue is full), :class:`Internal` (anything else; the log has Triton's words).
    """

    def __init__(
        self, address: str, loads: LoadPolicy = LoadPolicy(), *, tls: TlsFiles | None = None
    ) -> None:
        self.address = address
        self._client: Any = connect(address, tls)
        self._replicas = Replicas(address, self._client, tls)
        self._loads = loads
        self._budget = RetryBudget()
        self._loading: asyncio.Task[None] | None = None
        self._receipts: dict[str, tuple[Receipt, ...]] = {}
        self._loader = ModelLoader(loads, self._repository, self._ready_everywhere, self._load)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the channels; calls in flight are cancelled."""
        await self._replicas.close()
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
        deadline = Deadline(math.inf if timeout_s is None else timeout_s)

        async def ask(client: Any) -> dict[str, Array]:
            try:
                with self._budget.told():
                    return await self._infer(client, model, inputs, outputs, deadline, priority, headers)
            except (Internal, NotFound, Unavailable):
                # What answers next may be configured in another way: another version, or another Triton.
                self._receipts.pop(model, None)
                raise

        async def attempt() -> dict[str, Array]:
            return await ask(self._client)

        async def attempt_where_ready() -> dict[str, Array]:
            return await ask(await self._replicas.one_with(model, CHECK_TIMEOUT_S) or self._client)

        # Not by gRPC: to it a full queue looks like a replica that is away.
        repeat = functools.partial(repeated, budgets=[self._budget], deadline=deadline)
        try:
            return await repeat(attempt)
        except NotFound:
            # A Triton that was started again has only what it loads by itself, and one that stops has nothing. With
            # no other replica it is for the caller to say what becomes of that.
            if not await self._replicas.several():
                raise
            self._load_soon(model)
            return await repeat(attempt_where_ready, when=(Unavailable, NotFound))

    async def _infer(
        self,
        client: Any,
        model: str,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        deadline: Deadline,
        priority: int,
        headers: Mapping[str, str] | None,
    ) -> dict[str, Array]:
        receipts = await self._receipts_of(model, deadline)
        wanted = [*outputs, *(receipt_needs(receipts, inputs) - set(outputs))]
        left_s = deadline.remaining_s()
        timeout_s = None if math.isinf(left_s) else left_s
        # No await between these two lines and the call: a deadline is relative, and Triton gets the same one.
        timeout_us = None if timeout_s is None else max(1, int(timeout_s * 1e6))
        async with domain_errors("infer", model):
            result = await client.infer(
                model,
                [_input(name, array) for name, array in inputs.items()],
                outputs=[InferRequestedOutput(name) for name in wanted],
                client_timeout=timeout_s,
                timeout=timeout_us,
                priority=priority,
                headers=None if headers is None else dict(headers),
            )
        arrays = {name: result.as_numpy(name) for name in wanted}
        missing = [name for name, array in arrays.items() if array is None]
        if missing:
            # Seen of a Triton that is about to crash: Triton itself refuses to be asked for outputs that there are not.
            _log.error("triton_output_missing", model=model, outputs=missing)
            raise Unavailable("a network did not answer what it was asked", reason="ANSWER_INCOMPLETE")
        check_receipts(model, receipts, inputs, arrays)
        return {name: arrays[name] for name in outputs}

    async def _receipts_of(self, model: str, deadline: Deadline) -> tuple[Receipt, ...]:
        """The receipts that a model gives: asked for once, and again after it failed."""
        if model not in self._receipts:
            try:
                found = await self._config(model, min(CHECK_TIMEOUT_S, deadline.remaining_s()))
            except Unavailable:
                deadline.remaining_s()  # raises, where it is the caller's time that is over
                raise
            self._receipts[model] = receipts_of(found)
        return self._receipts[model]

    async def server_ready(self, timeout_s: float = CHECK_TIMEOUT_S) -> bool:
        """Whether Triton answers that it is ready. Never raises a domain error; no answer means no."""
        each = await self._replicas.each()
        return bool(await first_of(says_yes(one.is_server_ready(client_timeout=timeout_s)) for one in each))

    async def ready(self, model: str, timeout_s: float = CHECK_TIMEOUT_S) -> bool:
        """Whether ``model`` is loaded and answers, on one replica at least. No answer means no, and no error."""
        each = await self._replicas.each()
        return bool(
            await first_of(says_yes(one.is_model_ready(model, client_timeout=timeout_s)) for one in each)
        )

    async def model_config(self, model: str, timeout_s: float = CHECK_TIMEOUT_S) -> ModelDescription:
        """What Triton knows of a loaded model."""
        deadline = time.monotonic() + timeout_s
        config = await self._config(model, timeout_s)
        left_s = max(0.001, deadline - time.monotonic())
        each = await self._replicas.each()
        async with check_errors("model_metadata", model):
            metadata = await first_answer(
                one.get_model_metadata(model, client_timeout=left_s) for one in each
            )
        return described(config, metadata.versions)

    async def _config(self, model: str, timeout_s: float) -> model_config_pb2.ModelConfig:
        each = await self._replicas.each()
        async with check_errors("model_config", model):
            found = await first_answer(one.get_model_config(model, client_timeout=timeout_s) for one in each)
        return found.config

    async def model_states(self, timeout_s: float = CHECK_TIMEOUT_S) -> list[ModelState]:
        """Every model and version of the repository, loaded or not, in order of name and version.

        One that is ready on any replica is ready: a replica that starts or stops does not have the others' models.
        """
        each = await self._replicas.each()
        async with check_errors("models", ""):
            indexes = await answers_of(
                one.get_model_repository_index(client_timeout=timeout_s) for one in each
            )
        states: dict[tuple[str, str], ModelState] = {}
        for model in (model for index in indexes for model in index.models):
            state = ModelState(model.name, model.version, model.state == "READY", model.reason)
            known = states.setdefault((state.name, state.version), state)
            if state.ready and not known.ready:
                states[state.name, state.version] = state
        # Where one replica has loaded it, another's entry without a version says nothing.
        loaded = {name for (name, _), state in states.items() if state.ready}
        return [state for (name, version), state in sorted(states.items()) if version or name not in loaded]

    async def loadable(self) -> list[str]:
        """Names of the models that are not ready anywhere, and that :meth:`load` would try to load; in order."""
        if not self._loads.on_request:
            return []
        states = await self.model_states()
        return sorted({state.name for state in states} - {state.name for state in states if state.ready})

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

    def _load_soon(self, model: str) -> None:
        if self._loads.on_request and self._loading is None:
            self._loading = asyncio.create_task(self._load_quietly(model))

    async def _load_quietly(self, model: str) -> None:
        try:
            with suppress(DomainError):  # who asks next learns of it
                await self.load(model)
        finally:
            self._loading = None

    async def _repository(self) -> set[str]:
        return {state.name for state in await self.model_states()}

    async def _ready_everywhere(self, model: str) -> bool:
        each = await self._replicas.each()
        asked = (says_yes(one.is_model_ready(model, client_timeout=CHECK_TIMEOUT_S)) for one in each)
        return all(await asyncio.gather(*asked))

    async def _load(self, model: str, timeout_s: float) -> None:
        each = await self._replicas.each()
        await answers_of(_load_where_not_ready(one, model, timeout_s) for one in each)

    async def models(self, timeout_s: float = CHECK_TIMEOUT_S) -> list[str]:
        """Names of the models that are ready, in order."""
        return sorted({state.name for state in await self.model_states(timeout_s) if state.ready})


async def _load_where_not_ready(replica: Any, model: str, timeout_s: float) -> None:
    if not await says_yes(replica.is_model_ready(model, client_timeout=CHECK_TIMEOUT_S)):
        await replica.load_model(model, client_timeout=timeout_s)


def _input(name: str, array: Array) -> InferInput:
    tensor = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    return tensor
