"""The asynchronous client."""

import asyncio
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Final, Self, TypeVar

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from hemaserve.addresses import replicas
from hemaserve.cells import CellType, Kind
from hemaserve.client import classify, requests, smear, translate
from hemaserve.client.backoff import Backoff
from hemaserve.client.channel import open_channel
from hemaserve.client.credentials import CallCredentials, Token
from hemaserve.client.deadline import Deadline
from hemaserve.client.errors import NotFoundError, error_of, failure_of_rpc, unreachable
from hemaserve.client.integrity import check_image
from hemaserve.client.quota import QuotaLeft, quota_left
from hemaserve.client.requests import Acquisition, Field, ImageSource, LocatedCell
from hemaserve.client.screen import screened
from hemaserve.metadata import PRIORITY_KEY
from hemaserve.results import (
    CropEncoding,
    DetectionResult,
    ExplainedCell,
    FieldResult,
    Health,
    Model,
    NamedCell,
    Priority,
    SiteProfile,
    SmearResult,
)
from hemaserve.v1 import gateway_pb2, gateway_pb2_grpc

DEFAULT_ADDRESS: Final = "127.0.0.1:50051"
_SERVICE: Final = "hemaserve.v1.SmearService"

_Q = TypeVar("_Q")
_A = TypeVar("_A")
_T = TypeVar("_T")


def _ignore(_: object) -> None:
    pass


class Client:
    """A client of the gateway. Use it as an async context manager, or `await close()` it; safe for many tasks at once.

    While the gateway is away for a moment, calls are repeated by themselves, and the streams of `analyze_smear` and
    `classify_cells` are resumed. Every method raises `HemaServeError` when the service
    refuses or cannot be reached, and `OSError` when an image's file cannot be read.

    Args:
        address: the gateway's `host:port`; several of them with commas between, or `dns:///name:port`, when it has
            replicas: calls are spread over them, and go on with the others when one is lost.
        timeout_s: deadline of a call that is given none; it travels with the call through all services.
        connect_timeout_s: how long to wait for the gateway before a call fails as unreachable.
        credentials: for TLS, see `tls_credentials`; by default the channel is not encrypted.
        api_key: proves who calls, where the gateway asks; made by `hemaserve keys`.
        token: a JWT in its place, or a function that gives the one of the moment and is called for each call.
        backoff: how a broken stream is resumed.
        window: most fields (or requests of cells) of one call that are sent and not yet answered.

    Raises:
        AddressError: the address is malformed.
        ValueError: a key or token would be sent unencrypted to another machine.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        timeout_s: float = 30.0,
        connect_timeout_s: float = 5.0,
        credentials: grpc.ChannelCredentials | None = None,
        api_key: str | None = None,
        token: Token | None = None,
        backoff: Backoff = Backoff(),
        window: int = 8,
    ) -> None:
        replicas(address)
        self.address = address
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s
        self._credentials = credentials
        self._caller = CallCredentials(
            api_key=api_key, token=token, address=address, encrypted=credentials is not None
        )
        self._backoff = backoff
        self._window = window
        self._channel: grpc.aio.Channel | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls in flight are cancelled."""
        if self._channel is not None:
            channel, self._channel = self._channel, None
            await channel.close()

    async def analyze_field(
        self,
        image: ImageSource,
        *,
        field_id: str = "",
        model: str | None = None,
        detector_model: str | None = None,
        kinds: Iterable[Kind] = (),
        crops: CropEncoding = CropEncoding.NONE,
        screen: bool = False,
        acquisition: Acquisition | None = None,
        priority: Priority = Priority.ROUTINE,
        timeout_s: float | None = None,
    ) -> FieldResult:
        """Find, name and count the cells of one field. A field without white cells is a result.

        Args:
            image: the image file's bytes or its path.
            field_id: the caller's name for it.
            model: classification model; default: the service's.
            detector_model: detection model; default: the service's.
            kinds: whose cells are classified and returned; default: WBC.
            crops: whether each cell comes with its crop, and how.
            screen: whether the leukemia screen looks at the field and its white cells as well. What it flags is a
                reason to look, never a diagnosis. An error when the service cannot screen.
            acquisition: what is known of how the field was made.
            timeout_s: deadline; default: the client's.
        """
        request = gateway_pb2.AnalyzeFieldRequest(
            field=await requests.field(Field(image, acquisition=acquisition), field_id=field_id),
            options=requests.options(
                model=model, detector_model=detector_model, kinds=kinds, crops=crops, screen=screen
            ),
            priority=translate.priority_to_proto(priority),
        )
        response = await self._ask((await self._stub()).AnalyzeField, request, timeout_s, priority)
        check_image(request.field.image, response.result.image_sha256)
        return screened(translate.field_result(response.result, response.differential), asked_for=screen)

    async def analyze_smear(
        self,
        fields: Iterable[Field | ImageSource] | AsyncIterable[Field | ImageSource],
        *,
        smear_id: str | None = None,
        specimen: str = "",
        target: int = 0,
        model: str | None = None,
        detector_model: str | None = None,
        kinds: Iterable[Kind] = (),
        crops: CropEncoding = CropEncoding.NONE,
        screen: bool = False,
        priority: Priority = Priority.ROUTINE,
        on_result: Callable[[FieldResult], None] = _ignore,
        timeout_s: float | None = None,
    ) -> SmearResult:
        """Analyse the fields of one smear, counted in the order given, until the target or their end is reached.

        A stream that breaks is resumed: no field is lost, none is counted twice. Fields are taken from `fields` only
        as fast as they are analysed. A field that cannot be analysed is a result with an `error`.

        Args:
            fields: images, or `Field`s with ids of their own.
            smear_id: the caller's name for the smear, 1 to 128 characters; default: a random one.
            specimen: accession number; at most 64 characters.
            target: how many identified leukocytes to count: 100, 200 or 400; 0 counts all fields.
            screen: whether the leukemia screen looks at each field and its white cells as well, see `analyze_field`.
            on_result: told each field's result as it comes, in order of completion. With `SyncClient` it runs in
                the client's own thread.
            timeout_s: deadline for the whole smear; default: none.

        Raises:
            ValueError: two fields have the same id.
        """
        deadline = Deadline(timeout_s)
        stub = await self._stub()
        opening = gateway_pb2.OpenSmear(
            smear_id=smear_id or uuid.uuid4().hex,
            specimen=specimen,
            target=target,
            priority=translate.priority_to_proto(priority),
            options=requests.options(
                model=model, detector_model=detector_model, kinds=kinds, crops=crops, screen=screen
            ),
        )

        stream = smear.SmearStream(
            lambda: stub.AnalyzeSmear(timeout=deadline.left_s(), metadata=self._caller.metadata()),
            opening,
            requests.numbered(fields),
            on_result=on_result,
            backoff=self._backoff,
            window=self._window,
        )
        return screened(await stream.run(), asked_for=screen)

    async def detect_cells(
        self,
        image: ImageSource,
        *,
        field_id: str = "",
        detector_model: str | None = None,
        kinds: Iterable[Kind] = (),
        crops: CropEncoding = CropEncoding.NONE,
        score_threshold: float | None = None,
        acquisition: Acquisition | None = None,
        priority: Priority = Priority.ROUTINE,
        timeout_s: float | None = None,
    ) -> DetectionResult:
        """Find the cells of one field and name none.

        Args:
            kinds: to report; default: all.
            score_threshold: least score to report, above 0 and at most 1; default: the model's own for each kind.
        """
        request = gateway_pb2.DetectCellsRequest(
            field=await requests.field(Field(image, acquisition=acquisition), field_id=field_id),
            detector_model=detector_model or "",
            kinds=translate.kinds_to_proto(kinds),
            crop_encoding=translate.encoding_to_proto(crops),
            score_threshold=score_threshold,
            priority=translate.priority_to_proto(priority),
        )
        response = await self._ask((await self._stub()).DetectCells, request, timeout_s, priority)
        return translate.detection_result(response)

    async def classify_cells(
        self,
        cells: Iterable[LocatedCell | ImageSource] | AsyncIterable[LocatedCell | ImageSource],
        *,
        model: str | None = None,
        site_profile: str | None = None,
        priority: Priority = Priority.ROUTINE,
        on_result: Callable[[NamedCell], None] = _ignore,
        timeout_s: float | None = None,
    ) -> list[NamedCell]:
        """Name cells that the caller has located; several requests are on their way at a time.

        Args:
            cells: single-cell images, or `LocatedCell`s with ids and boxes.
            site_profile: name of the profile that corrects the cells' colours; default: none.
            on_result: told each answer as it comes, in the order of the cells.
            timeout_s: deadline for all of them; default: none.

        Returns:
            One answer for each cell, in order. A cell that cannot be classified has an `error`.
        """
        deadline = Deadline(timeout_s)
        stub = await self._stub()

        async def batched() -> AsyncIterator[gateway_pb2.ClassifyCellsRequest]:
            async for group in classify.batches(requests.located_cells(cells)):
                yield gateway_pb2.ClassifyCellsRequest(
                    model=model or "",
                    cells=group,
                    priority=translate.priority_to_proto(priority),
                    site_profile=site_profile or "",
                )

        stream = classify.CellStream(
            lambda: stub.ClassifyCells(timeout=deadline.left_s(), metadata=self._caller.metadata()),
            batched(),
            on_result=on_result,
            backoff=self._backoff,
            window=self._window,
        )
        return await stream.run()

    async def explain_cell(
        self,
        cell: LocatedCell | ImageSource,
        *,
        cell_type: CellType | None = None,
        model: str | None = None,
        site_profile: str | None = None,
        priority: Priority = Priority.ROUTINE,
        timeout_s: float | None = None,
    ) -> ExplainedCell:
        """Name one cell that the caller has located, and say what in its crop speaks for a type.

        Args:
            cell: a single-cell image, or a `LocatedCell` with an id and a box.
            cell_type: the type to explain, a leaf or one with leaves below it; default: the one that the cell is given.
            model: one that is `explainable` in `list_models`; default: the service's.
            site_profile: name of the profile that corrects the cell's colours; default: none.
            timeout_s: deadline; default: the client's.

        Raises:
            FailedPreconditionError: the model's answers cannot be explained; the message names models whose can be.
            InvalidArgumentError: the model cannot answer `cell_type`, or the image cannot be read.
        """
        located = cell if isinstance(cell, LocatedCell) else LocatedCell(cell)
        request = gateway_pb2.ExplainCellRequest(
            model=model or "",
            cell=await requests.located_cell(located),
            type=translate.type_to_proto(cell_type),
            priority=translate.priority_to_proto(priority),
            site_profile=site_profile or "",
        )
        response = await self._ask((await self._stub()).ExplainCell, request, timeout_s, priority)
        return translate.explained_cell(response)

    async def list_models(self, *, timeout_s: float | None = None) -> list[Model]:
        """The models that requests can name."""
        request = gateway_pb2.ListModelsRequest()
        response = await self._ask((await self._stub()).ListModels, request, timeout_s)
        return [translate.model(message) for message in response.models]

    async def list_site_profiles(self, *, timeout_s: float | None = None) -> list[SiteProfile]:
        """The site profiles that requests can name."""
        request = gateway_pb2.ListSiteProfilesRequest()
        response = await self._ask((await self._stub()).ListSiteProfiles, request, timeout_s)
        return [translate.site_profile(message) for message in response.site_profiles]

    async def health(self, *, timeout_s: float | None = None) -> Health:
        """Whether the gateway, and with it all that it needs, answers at this moment."""
        await self._stub()
        check = health_pb2_grpc.HealthStub(self._open()).Check  # type: ignore[attr-defined]  # set by its __init__
        request = health_pb2.HealthCheckRequest(service=_SERVICE)
        try:
            response = await self._ask(check, request, timeout_s)
        except NotFoundError:  # it has only just started and not looked yet
            return Health(self.address, serving=False)
        return Health(self.address, response.status == health_pb2.HealthCheckResponse.SERVING)

    async def quota(self, *, timeout_s: float | None = None) -> tuple[QuotaLeft, ...]:
        """What is left of the caller's quota in this minute; empty where the caller has none."""
        call = (await self._stub()).ListModels(
            gateway_pb2.ListModelsRequest(),
            timeout=self._timeout_s if timeout_s is None else timeout_s,
            metadata=self._caller.metadata(),
        )
        try:
            await call
        except grpc.aio.AioRpcError as error:
            raise error_of(failure_of_rpc(error)) from None
        return quota_left(await call.trailing_metadata())

    def _open(self) -> grpc.aio.Channel:
        if self._channel is None:
            self._channel = open_channel(self.address, self._credentials)
        return self._channel

    async def _stub(self) -> "gateway_pb2_grpc.SmearServiceAsyncStub":
        """The service's stub, once the gateway is there."""
        channel = self._open()
        if channel.get_state(try_to_connect=True) is not grpc.ChannelConnectivity.READY:
            try:
                await asyncio.wait_for(channel.channel_ready(), self._connect_timeout_s)
            except TimeoutError:
                raise unreachable(self.address) from None
        return gateway_pb2_grpc.SmearServiceStub(channel)

    async def _ask(
        self,
        method: "grpc.aio.UnaryUnaryMultiCallable[_Q, _A]",
        request: _Q,
        timeout_s: float | None,
        priority: Priority | None = None,
    ) -> _A:
        # So that a call that is refused is refused before its image is sent.
        told = () if priority is None else ((PRIORITY_KEY, priority.value),)
        try:
            return await method(
                request,
                timeout=self._timeout_s if timeout_s is None else timeout_s,
                metadata=(*self._caller.metadata(), *told),
                wait_for_ready=True,
            )
        except grpc.aio.AioRpcError as error:
            raise error_of(failure_of_rpc(error)) from None
