"""One client for our gateway and for peers. Without retries: what is refused counts as refused."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol, Self

from benchmarks.peers.answers import CellAnswer, FieldAnswer
from hemaserve.metadata import PRIORITY_KEY

GATEWAY: Final = "hemaserve"
"""What our own is called among the peers."""

OK, REFUSED, LATE, FAILED = "ok", "refused", "late", "failed"


@dataclass(frozen=True, slots=True)
class Door:
    """How a peer is asked over HTTP, and how its answer is read.

    Attributes:
        path: where images are posted.
        ready_path: what answers 200 once it can be asked.
        content_type: of what is posted.
        wrap: an image file as it is posted.
        unwrap: the answer in what comes back.
    """

    path: str = "/analyze"
    ready_path: str = "/ready"
    content_type: str = "application/octet-stream"
    wrap: Callable[[bytes], bytes] = bytes
    unwrap: Callable[[bytes], Any] = json.loads


def _wrap_v2(image: bytes) -> bytes:
    data = base64.b64encode(image).decode()
    parameters = {"content_type": "base64"}
    image_input = {
        "name": "image",
        "shape": [1, 1],
        "datatype": "BYTES",
        "parameters": parameters,
        "data": [data],
    }
    return json.dumps({"inputs": [image_input]}).encode()


def _unwrap_v2(body: bytes) -> Any:
    return json.loads(json.loads(body)["outputs"][0]["data"][0])


DOORS: Final[Mapping[str, Door]] = {
    "fastapi": Door(),
    "litserve": Door(ready_path="/health"),
    "bentoml": Door(ready_path="/readyz"),
    "ray": Door(ready_path="/-/healthz"),
    "mlserver": Door(
        path="/v2/models/hemaserve/infer",
        ready_path="/v2/models/hemaserve/ready",
        content_type="application/json",
        wrap=_wrap_v2,
        unwrap=_unwrap_v2,
    ),
    "flask": Door(),
    "flask_development": Door(),
}
"""The peers by name; servers that prescribe how they are asked are asked so."""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask.

    Attributes:
        name: a peer's, or `GATEWAY`.
        address: host:port.
        deadline_s: of each call.
    """

    name: str
    address: str
    deadline_s: float = 60.0


class Caller(Protocol):
    """A connection to a target: any number of calls side by side."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def analyze(self, image: bytes, priority: str = "routine") -> FieldAnswer:
        """The answer about an image file.

        Args:
            priority: stat, routine or batch; peers have none and do not hear of it.

        Raises:
            RuntimeError: there is none, with what was said instead.
        """

    async def call(self, image: bytes, priority: str = "routine") -> str:
        """Ask, for the load's sake: what became of it (`OK`, `REFUSED`, `LATE`, or `FAILED` and why)."""


def caller(target: Target) -> Caller:
    """A client of a target, to be entered."""
    return _OfGateway(target) if target.name == GATEWAY else _OfPeer(target)


class _OfPeer:
    def __init__(self, target: Target) -> None:
        self._door = DOORS[target.name]
        self._url = f"http://{target.address}{self._door.path}"
        self._deadline_s = target.deadline_s

    async def __aenter__(self) -> Self:
        import aiohttp  # noqa: PLC0415 - in the load's process only

        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            timeout=aiohttp.ClientTimeout(total=self._deadline_s),
            headers={"Content-Type": self._door.content_type},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def analyze(self, image: bytes, priority: str = "routine") -> FieldAnswer:
        del priority
        status, body = await self._post(image)
        if status != 200:
            raise RuntimeError(f"{self._url} answered {status}: {body[:500]!r}")
        return FieldAnswer.from_dict(self._door.unwrap(body))

    async def call(self, image: bytes, priority: str = "routine") -> str:
        import aiohttp  # noqa: PLC0415

        del priority
        try:
            status, _ = await self._post(image)
        except TimeoutError:
            return LATE
        except aiohttp.ClientError as error:
            return f"{FAILED}: {type(error).__name__}"
        if status in (429, 503):
            return REFUSED
        return OK if status == 200 else f"{FAILED}: {status}"

    async def _post(self, image: bytes) -> tuple[int, bytes]:
        async with self._session.post(self._url, data=self._door.wrap(image)) as response:
            return response.status, await response.read()


class _OfGateway:
    def __init__(self, target: Target) -> None:
        self._target = target

    async def __aenter__(self) -> Self:
        import grpc.aio  # noqa: PLC0415 - in the load's process only

        from hemaserve.addresses import target  # noqa: PLC0415
        from hemaserve.v1 import gateway_pb2_grpc  # noqa: PLC0415

        # A connection each, to each replica: channels of one process to one address share theirs otherwise.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.lb_policy_name", "round_robin")]
        self._channel = grpc.aio.insecure_channel(target(self._target.address), options=options)
        self._stub = gateway_pb2_grpc.SmearServiceStub(self._channel)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._channel.close()

    async def analyze(self, image: bytes, priority: str = "routine") -> FieldAnswer:
        import grpc.aio  # noqa: PLC0415

        try:
            response = await self._ask(image, priority)
        except grpc.aio.AioRpcError as error:
            raise RuntimeError(f"the gateway answered {error.code().name}: {error.details()}") from error
        return _answer(response.result)

    async def call(self, image: bytes, priority: str = "routine") -> str:
        import grpc.aio  # noqa: PLC0415

        try:
            await self._ask(image, priority)
        except grpc.aio.AioRpcError as error:
            return {
                grpc.StatusCode.RESOURCE_EXHAUSTED: REFUSED,
                grpc.StatusCode.DEADLINE_EXCEEDED: LATE,
            }.get(error.code(), f"{FAILED}: {error.code().name}")
        return OK

    async def _ask(self, image: bytes, priority: str) -> Any:
        from hemaserve.v1 import gateway_pb2  # noqa: PLC0415

        request = gateway_pb2.AnalyzeFieldRequest(
            field=gateway_pb2.Field(field_id="f", image=image),
            priority=gateway_pb2.Priority.Value(f"PRIORITY_{priority.upper()}"),
        )
        # As our client says it.
        metadata = ((PRIORITY_KEY, priority),)
        return await self._stub.AnalyzeField(request, timeout=self._target.deadline_s, metadata=metadata)


def _answer(result: Any) -> FieldAnswer:
    from hemaserve.v1 import cells_pb2  # noqa: PLC0415

    return FieldAnswer(
        tuple(
            CellAnswer(
                box=(
                    cell.detection.box.x0_px,
                    cell.detection.box.y0_px,
                    cell.detection.box.x1_px,
                    cell.detection.box.y1_px,
                ),
                score=cell.detection.score,
                cell_type=cells_pb2.CellType.Name(cell.classification.type)
                .removeprefix("CELL_TYPE_")
                .lower(),
                probability=cell.classification.probability,
                identified=cell.classification.identified,
            )
            for cell in result.cells
        ),
        {
            cells_pb2.CellKind.Name(found.kind).removeprefix("CELL_KIND_").lower(): found.count
            for found in result.kind_counts
        },
    )
