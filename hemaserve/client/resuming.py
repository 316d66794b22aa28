"""A bidirectional stream that is opened again when it breaks, until all that was to be sent is answered."""

import abc
import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final, Generic, TypeVar

import grpc

from hemaserve.client.backoff import Backoff
from hemaserve.client.errors import STREAM_BROKEN, HemaServeError, UnavailableError, error_of, failure_of_rpc
from hemaserve.results import Failure

Request = TypeVar("Request")
Response = TypeVar("Response")
Result = TypeVar("Result")

# A gateway that is shut down cancels what it could not finish: to the client that is a broken connection too.
_BROKEN: Final = ("UNAVAILABLE", "CANCELLED")
_CAUTION_S: Final = 0.25
_GOODBYE_S: Final = 1.0


def _worth_asking_again(error: HemaServeError) -> bool:
    # A message that is too large exhausts a resource too, but nobody says when to try that again.
    busy = error.code == "RESOURCE_EXHAUSTED" and error.retry_after_s is not None
    return busy or error.code in _BROKEN


class ResumingStream(abc.ABC, Generic[Request, Response, Result]):
    """Sends requests and takes their responses over as many streams as it takes.

    A request is unanswered from the moment that it is taken from the source until its response comes. A new stream
    begins with `opening()`, sends the unanswered requests again and goes on with the source.

    Args:
        open_call: starts a call; used once for each stream.
        source: the requests; read no further than `window` beyond the responses.
        backoff: how often and when to open a new stream; any response starts the count of attempts anew.
        window: most requests sent and not yet answered.
    """

    def __init__(
        self,
        open_call: "Callable[[], grpc.aio.StreamStreamCall[Request, Response]]",
        source: AsyncIterator[Request],
        *,
        backoff: Backoff,
        window: int,
    ) -> None:
        self._open_call = open_call
        self._source = source
        self._backoff = backoff
        self._slots = asyncio.Semaphore(window)
        self._next: asyncio.Queue[Request | None] = asyncio.Queue(maxsize=1)
        self.exhausted = False
        self._progress = 0
        self._cautious = False
        self._heard = asyncio.Event()

    @abc.abstractmethod
    def opening(self) -> Sequence[Request]:
        """What a stream begins with."""

    @abc.abstractmethod
    def unanswered(self) -> Sequence[Request]:
        """The requests to send again."""

    @abc.abstractmethod
    def remember(self, request: Request) -> None:
        """Take note of a request that is about to be sent for the first time."""

    @abc.abstractmethod
    def take(self, response: Response) -> Result | None:
        """Take a response, call `answered` for the request that it answers; returns the result if it is the last."""

    @abc.abstractmethod
    def result_at_end(self) -> Result | None:
        """The result when a stream ends without an error; None when it ended too early."""

    def answered(self) -> None:
        """Make room for one more request."""
        self._progress += 1
        self._slots.release()

    async def run(self) -> Result:
        """Send and receive to the end.

        Raises:
            HemaServeError: the service refused, or could not be reached again within the backoff's attempts.
            Exception: whatever the source or `take` raises.
        """
        source = asyncio.create_task(self._read_source())
        streams = asyncio.create_task(self._run_streams())
        try:
            await asyncio.wait({source, streams}, return_when=asyncio.FIRST_COMPLETED)
            if not streams.done():
                source.result()
            return await streams
        finally:
            await _cancel(source, streams)

    async def _read_source(self) -> None:
        # In a task of its own: a stream that breaks must not cancel a half-read request.
        async for request in self._source:
            await self._slots.acquire()
            await self._next.put(request)
        await self._next.put(None)

    async def _run_streams(self) -> Result:
        attempt = 0
        while True:
            before = self._progress
            try:
                return await self._run_stream()
            except HemaServeError as error:
                if not _worth_asking_again(error):
                    raise
                self._cautious = error.reason == STREAM_BROKEN
                attempt = 1 if self._progress > before else attempt + 1
                if attempt > self._backoff.attempts:
                    raise
                await asyncio.sleep(max(self._backoff.wait_s(attempt), error.retry_after_s or 0.0))

    async def _run_stream(self) -> Result:
        call = self._open_call()
        self._heard.clear()
        sender = asyncio.create_task(self._send(call))
        try:
            async for response in call:
                self._heard.set()
                result = self.take(response)
                if result is not None:
                    await _hear_out(call)
                    return result
            result = self.result_at_end()
            if result is not None:
                return result
            raise UnavailableError(Failure("UNAVAILABLE", STREAM_BROKEN, "the stream ended too early"))
        except grpc.aio.AioRpcError as error:
            raise error_of(failure_of_rpc(error)) from None
        finally:
            await _cancel(sender)
            call.cancel()

    async def _send(self, call: "grpc.aio.StreamStreamCall[Request, Response]") -> None:
        # A broken call says why to whoever reads from it.
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            for number, request in enumerate((*self.opening(), *self.unanswered())):
                await call.write(request)
                if number == 0 and self._cautious:
                    # A refusal is lost when it meets a write (see errors.py), so give it time to be heard.
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._heard.wait(), _CAUTION_S)
            while not self.exhausted:
                following = await self._next.get()
                if following is None:
                    self.exhausted = True
                else:
                    self.remember(following)
                    await call.write(following)
            await call.done_writing()


async def _hear_out(call: "grpc.aio.StreamStreamCall[Request, Response]") -> None:
    """Let the service end a call that has given all it had to: who hangs up first is a caller who went away."""
    with contextlib.suppress(grpc.aio.AioRpcError, TimeoutError):
        async with asyncio.timeout(_GOODBYE_S):
            async for _ in call:
                pass


async def _cancel(*tasks: "asyncio.Task[object]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
