"""What the hops of a field cost with grpc.aio alone: the same processes, calls and bytes, and nothing done with them.

A gateway that is called with an image, streams an image's detections and crops from a detector, and streams the crops
through a classifier; both of these call one more server, which stands for Triton. Messages are plain bytes of the sizes
that the real ones have.
"""

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psutil

OPTIONS: Final = (
    ("grpc.max_receive_message_length", 2**26),
    ("grpc.max_send_message_length", 2**26),
    ("grpc.use_local_subchannel_pool", 1),
)
ANALYZE, DETECT, CLASSIFY, INFER = "/bare/Analyze", "/bare/Detect", "/bare/Classify", "/bare/Infer"
SQUARE_BYTES: Final = 512 * 512 * 3
PREDICTION_BYTES: Final = 7 * 5376 * 4
CROP_BYTES: Final = 96 * 96 * 3
INFO_BYTES: Final = 300
CELL_BYTES: Final = 500
"""What is said of a cell: detection, classification, probabilities of the leaves, opinions of the members."""


@dataclass(frozen=True, slots=True)
class Hops:
    """A chain of bare servers that runs.

    Attributes:
        address: of the first.
        pids: of those that stand for our services.
        cells: of each field.
    """

    address: str
    pids: dict[str, int]
    cells: int

    def cpu_s(self) -> dict[str, float]:
        """Processor seconds of each so far."""
        return {name: sum(psutil.Process(pid).cpu_times()[:2]) for name, pid in self.pids.items()}


@contextmanager
def hops(cells: int) -> Iterator[Hops]:
    """A chain of bare servers for fields with so many cells."""
    context = multiprocessing.get_context("spawn")
    processes: dict[str, Any] = {}

    def start(name: str, *addresses: str) -> str:
        receiver, sender = context.Pipe(duplex=False)
        processes[name] = context.Process(target=_serve, args=(name, cells, addresses, sender), daemon=True)
        processes[name].start()
        return f"127.0.0.1:{receiver.recv()}"

    try:
        triton = start("triton")
        address = start("gateway", start("detector", triton), start("classifier", triton))
        pids = {name: each.pid for name, each in processes.items() if name != "triton"}
        yield Hops(address, pids, cells)
    finally:
        for each in processes.values():
            each.kill()
            each.join()


def loading(address: str, image: bytes) -> Any:
    """Prepare a process to call a chain; asked for how long and how many at a time, it tells the calls there were."""

    def act(seconds: float, at_once: int) -> int:
        return asyncio.run(_load(address, image, seconds, at_once))

    return act


async def _load(address: str, image: bytes, seconds: float, at_once: int) -> int:
    import grpc.aio  # noqa: PLC0415 - in processes of their own only

    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    async with grpc.aio.insecure_channel(address, options=OPTIONS) as channel:
        analyze: Any = channel.unary_unary(ANALYZE)

        async def one_after_another() -> int:
            calls = 0
            while loop.time() < end:
                await analyze(image)
                calls += 1
            return calls

        return sum(await asyncio.gather(*(one_after_another() for _ in range(at_once))))


def _serve(name: str, cells: int, addresses: tuple[str, ...], sender: Any) -> None:
    asyncio.run(_served(name, cells, addresses, sender))


async def _served(name: str, cells: int, addresses: tuple[str, ...], sender: Any) -> None:
    import grpc.aio  # noqa: PLC0415

    channels = [grpc.aio.insecure_channel(address, options=OPTIONS) for address in addresses]
    match name:
        case "triton":
            handlers = _triton()
        case "detector":
            handlers = _detector(cells, *channels)
        case "classifier":
            handlers = _classifier(cells, *channels)
        case _:
            handlers = _gateway(cells, *channels)
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("bare", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sender.send(port)
    await server.wait_for_termination()


def _triton() -> dict[str, Any]:
    import grpc  # noqa: PLC0415

    predictions, answers = bytes(PREDICTION_BYTES), bytes(INFO_BYTES)

    async def infer(request: bytes, _: Any) -> bytes:
        return predictions if len(request) == SQUARE_BYTES else answers

    return {"Infer": grpc.unary_unary_rpc_method_handler(infer)}


def _detector(cells: int, triton: Any) -> dict[str, Any]:
    import grpc  # noqa: PLC0415

    infer, square, crops = triton.unary_unary(INFER), bytes(SQUARE_BYTES), bytes(CROP_BYTES * cells)

    async def detect(_: bytes, __: Any) -> AsyncIterator[bytes]:
        await infer(square)
        yield bytes(INFO_BYTES)
        yield crops

    return {"Detect": grpc.unary_stream_rpc_method_handler(detect)}


def _classifier(cells: int, triton: Any) -> dict[str, Any]:
    import grpc  # noqa: PLC0415

    infer, answer = triton.unary_unary(INFER), bytes(CELL_BYTES * cells)

    async def classify(requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        async for crops in requests:
            await infer(crops)
            yield answer

    return {"Classify": grpc.stream_stream_rpc_method_handler(classify)}


def _gateway(cells: int, detector: Any, classifier: Any) -> dict[str, Any]:
    import grpc  # noqa: PLC0415

    detect, classify = detector.unary_stream(DETECT), classifier.stream_stream(CLASSIFY)
    answer = bytes(CELL_BYTES * cells)

    async def analyze(image: bytes, _: Any) -> bytes:
        found = [message async for message in detect(image)]
        call = classify()
        await call.write(found[-1])
        await call.done_writing()
        async for _message in call:
            pass
        return answer

    return {"Analyze": grpc.unary_unary_rpc_method_handler(analyze)}
