"""Each replica of Triton by itself: for what concerns every one of them, such as loading a model."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Coroutine, Iterable
from typing import Any

import grpc
import grpc.aio
from tritonclient.grpc import service_pb2_grpc
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException

from hemaserve import balancing
from hemaserve.addresses import may_have_replicas, of_a_name, replicas, target
from services.runtime.tasks import first_of
from services.runtime.tls_files import TlsFiles

_REPEATABLE = [
    # They only ask. An inference could be repeated too, but see `TritonClient.infer`.
    {"service": "inference.GRPCInferenceService", "method": method}
    for method in ("ModelConfig", "ModelMetadata", "RepositoryIndex")
]

_RETRY_ON = ("UNAVAILABLE", "NOT_FOUND")
"""A replica that starts or stops does not know the models that the others have."""


def connect(address: str, tls: TlsFiles | None = None, server_name: str = "") -> Any:
    """A client of Triton, of one replica or several.

    Args:
        address: see :mod:`hemaserve.addresses`.
        tls: our certificate and key, and Triton's authorities; None: no TLS.
        server_name: whom Triton's certificate must be for, where that is not the host of `address`.

    Raises:
        TlsFileError: the files cannot be used.
    """
    retry_on = _RETRY_ON if may_have_replicas(address) else _RETRY_ON[:1]
    options = balancing.options(address, repeatable=_REPEATABLE, max_message_bytes=-1, retry_on=retry_on)
    where = target(address)
    if tls is None:
        return InferenceServerClient(where, channel_args=options)
    # Only where TLS is used: cryptography takes its share of the memory.
    from services.runtime.renewing import RenewingChannel  # noqa: PLC0415

    if server_name:
        options.append(("grpc.ssl_target_name_override", server_name))
    return _Client(
        RenewingChannel(tls, lambda credentials: grpc.aio.secure_channel(where, credentials, options))
    )


class _Client(InferenceServerClient):  # type: ignore[misc]  # untyped
    """Over a channel of ours: the one that the library makes keeps the certificates of its first day."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        super(InferenceServerClient, self).__init__()  # not its own, which opens a channel
        self._channel = channel
        self._client_stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        self._verbose = False


class Replicas:
    """A client for each replica.

    Args:
        address: of all of them.
        together: the client that spreads its calls over them.
        tls: see :func:`connect`.
    """

    def __init__(self, address: str, together: Any, tls: TlsFiles | None = None) -> None:
        self._address = address
        self._tls = tls
        self._clients: dict[str, Any] = {}
        if not of_a_name(address):
            several = replicas(address)
            self._clients = (
                {several[0]: together}
                if len(several) == 1
                else {each: connect(each, tls) for each in several}
            )
        self._together = together

    async def each(self) -> list[Any]:
        """The clients, in the order of their addresses; those of a name as it resolves now.

        A name that cannot be resolved leaves the client of all.
        """
        if not of_a_name(self._address):
            return list(self._clients.values())
        host, _, port = replicas(self._address)[0].rpartition(":")
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        except OSError:
            return [self._together]
        now = set()
        for address in {entry[4][0] for entry in found}:
            written = f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"
            if written not in self._clients:
                self._clients[written] = connect(written, self._tls, host)
            now.add(written)
        return [self._clients[written] for written in sorted(now)]

    async def several(self) -> bool:
        """Whether there is more than one."""
        return len(await self.each()) > 1

    async def one_with(self, model: str, timeout_s: float) -> Any:
        """The client of the first replica to say that the model answers there; None when none does."""

        async def answer(client: Any) -> Any:
            return client if await says_yes(client.is_model_ready(model, client_timeout=timeout_s)) else None

        return await first_of(answer(client) for client in await self.each())

    async def close(self) -> None:
        """Closes their channels."""
        for client in self._clients.values():
            await client.close()


async def answers_of(questions: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """The answers of those who answer; the first one's error when nobody does."""
    asked = await asyncio.gather(*questions, return_exceptions=True)
    answers = [answer for answer in asked if not isinstance(answer, BaseException)]
    if not answers:
        raise next(answer for answer in asked if isinstance(answer, BaseException))
    return answers


async def first_answer(questions: Iterable[Coroutine[Any, Any, Any]]) -> Any:
    """The first answer that anybody gives; does not wait for the others then.

    Raises:
        InferenceServerException: nobody gives one; where anybody says that what was asked for is not there, that.
    """
    asked = [asyncio.create_task(question) for question in questions]
    failures = []
    try:
        for answer in asyncio.as_completed(asked):
            try:
                return await answer
            except InferenceServerException as failure:
                failures.append(failure)
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)  # or what fails now would be logged as nobody's
    raise min(failures, key=lambda failure: failure.status() != str(grpc.StatusCode.NOT_FOUND))


async def says_yes(answer: Awaitable[bool]) -> bool:
    """Whether the answer is yes; none is no."""
    try:
        return bool(await answer)
    except InferenceServerException:
        return False
