"""Crops for a classifier, as fast as it answers: through `Classify`, and straight to Triton without any service.

Both from processes of their own, with requests written beforehand, memory kept for the next one, and answers not
looked into beyond their number, so that as little as can be of the machine goes into asking.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from services.triton.client import Array

OPTIONS: Final = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", 2**26))
TIMEOUT_S: Final = 120.0
INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
CLASSIFY: Final = "/hemaserve.v1.ClassifierService/Classify"


@dataclass(frozen=True, slots=True)
class Asked:
    """How crops are sent.

    Attributes:
        batch: crops in a request.
        at_once: requests under way.
    """

    batch: int
    at_once: int


def triton(address: str, model: str, outputs: tuple[str, ...], crops: Array) -> Callable[..., Any]:
    """Prepare a process to drive Triton; asked how and for how long, it tells crops a second."""

    def act(asked: Asked, seconds: float) -> float:
        return asyncio.run(_triton(address, model, outputs, _batch(crops, asked.batch), asked, seconds))

    return act


async def _triton(
    address: str, model: str, outputs: tuple[str, ...], batch: Array, asked: Asked, seconds: float
) -> float:
    import grpc.aio  # noqa: PLC0415 - in the load's process only

    request = infer_request(model, outputs, "crops", batch)
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        infer: Any = channel.unary_unary(INFER)

        async def ask() -> None:
            await infer(request, timeout=TIMEOUT_S)

        return await rate(ask, asked, seconds)


def infer_request(model: str, outputs: Sequence[str], name: str, rows: Array) -> bytes:
    """The message that has Triton run a model on rows of pixels, uint8 [N, S, S, 3], as its input `name`."""
    from tritonclient.grpc import service_pb2  # noqa: PLC0415

    request = service_pb2.ModelInferRequest(model_name=model, raw_input_contents=[rows.tobytes()])
    request.inputs.add(name=name, datatype="UINT8", shape=rows.shape)
    for output in outputs:
        request.outputs.add(name=output)
    return bytes(request.SerializeToString())


def classify(address: str, model: str, crops: Array) -> Callable[..., Any]:
    """Prepare a process to call `Classify`; asked how and for how long, it tells crops a second."""

    def act(asked: Asked, seconds: float) -> float:
        return asyncio.run(_classify(address, model, _batch(crops, asked.batch), asked, seconds))

    return act


async def _classify(address: str, model: str, batch: Array, asked: Asked, seconds: float) -> float:
    import grpc.aio  # noqa: PLC0415

    from hemaserve.v1 import cells_pb2, classifier_pb2  # noqa: PLC0415

    request = classifier_pb2.ClassifyRequest(
        model=model,
        cells=[
            classifier_pb2.CellToClassify(
                field_id="f",
                crop=cells_pb2.Crop(
                    cell_id=str(number),
                    size_px=crop.shape[0],
                    encoding=cells_pb2.CROP_ENCODING_RAW_RGB8,
                    data=crop.tobytes(),
                ),
            )
            for number, crop in enumerate(batch)
        ],
    ).SerializeToString()
    counted = _Counted(seconds)

    async def stream(call: Any) -> None:
        # Each request is sent when the one before is answered; the service takes several of a stream side by side,
        # but streams of their own are what many callers are.
        answered = asyncio.Semaphore(1)

        async def requests() -> AsyncIterator[Any]:
            while True:
                await answered.acquire()
                if counted.over:
                    return
                yield request

        async for response in call(requests(), timeout=TIMEOUT_S):
            if len(response.cells) != len(batch) or response.cells[0].HasField("error"):
                raise RuntimeError(f"Classify answered otherwise than asked: {response}"[:500])
            counted.note()
            answered.release()

    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        call: Any = channel.stream_stream(
            CLASSIFY, response_deserializer=classifier_pb2.ClassifyResponse.FromString
        )
        await asyncio.gather(*(stream(call) for _ in range(asked.at_once)))
    return counted.per_second * len(batch)


async def rate(ask: Callable[[], Any], asked: Asked, seconds: float) -> float:
    """How many a second are answered where each call of `ask` sends one batch and waits for its answer."""
    counted = _Counted(seconds)

    async def one_after_another() -> None:
        while not counted.over:
            await ask()
            counted.note()

    await asyncio.gather(*(one_after_another() for _ in range(asked.at_once)))
    return counted.per_second * asked.batch


class _Counted:
    """Answers, from a tenth of the time on: before that, connections are made and nothing is under way yet."""

    def __init__(self, seconds: float) -> None:
        self._began = time.perf_counter()
        self._from = self._began + 0.1 * seconds
        self._to = self._began + seconds
        self._ended: list[float] = []

    @property
    def over(self) -> bool:
        return time.perf_counter() >= self._to

    def note(self) -> None:
        self._ended.append(time.perf_counter())

    @property
    def per_second(self) -> float:
        """Between the first and the last answer that count, so that none counts by a part."""
        counted = [at for at in self._ended if self._from <= at <= self._to]
        if len(counted) < 2:
            raise RuntimeError("there was no time for two answers; measure for longer")
        return (len(counted) - 1) / (counted[-1] - counted[0])


def _batch(crops: Array, size: int) -> Array:
    return np.resize(crops, (size, *crops.shape[1:]))
