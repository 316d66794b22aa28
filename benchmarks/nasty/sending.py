"""Sends the corpus to running services, every file by every way in, and judges each answer."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import grpc
import grpc.aio
from google.rpc import error_details_pb2, status_pb2

from benchmarks.nasty.files import NastyFile, Verdict
from benchmarks.nasty.requests import LENIENT, AbsurdRequest
from hemaserve.v1 import (
    cells_pb2,
    classifier_pb2,
    detector_pb2,
    gateway_pb2,
)

TIMEOUT_S: Final = 120
_INVALID: Final = grpc.StatusCode.INVALID_ARGUMENT
_CELLS_A_REQUEST: Final = 32
_BYTES_A_REQUEST: Final = 3 * 2**20
_UNREADABLE: Final = (b"\xff" * 11, b"\x0a\xff\x01")


@dataclass(frozen=True, slots=True)
class Services:
    """The services to send to."""

    # Any, because the stubs' types are those of calls that are not asynchronous.
    gateway: Any
    detector: Any
    classifier: Any


@dataclass(slots=True)
class Report:
    """What came of all that was sent.

    Attributes:
        answers: how often each way was answered how: `OK`, a status code, or the reason of a refusal.
        wrong: what must not have come, in words.
    """

    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def sent(self) -> int:
        return sum(self.answers.values())

    def judge(
        self, way: str, file: NastyFile, code: int, status: status_pb2.Status | None, path: str
    ) -> None:
        """Note an answer about a file that stood at `path` of its request."""
        name, field_named = _named(code, status)
        self.answers[way, name] += 1
        if code == 0:
            fine = file.verdict is not Verdict.REFUSED
        else:
            fine = code == _INVALID.value[0] and field_named == path and file.verdict is not Verdict.SOUND
        if not fine:
            self.wrong.append(f"{way}: {file.name}: {name} about {field_named!r}")


def _named(code: int, status: status_pb2.Status | None) -> tuple[str, str]:
    """How an answer is called, and the field that it names."""
    if code == 0:
        return "OK", ""
    name, path = next(known.name for known in grpc.StatusCode if known.value[0] == code), ""
    for detail in status.details if status is not None else ():
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            name = f"{name} {info.reason}"
        elif detail.Unpack(bad) and bad.field_violations:
            path = bad.field_violations[0].field
    return name, path


async def send_files(services: Services, files: Iterable[NastyFile], report: Report) -> None:
    """Every file by every way in."""
    files = list(files)
    for way, path, ask in _unary(services):
        for file in files:
            code, status = await _outcome(ask(file.data))
            report.judge(way, file, code, status, path)
    await _smear(services, files, report)
    await _cells(services, files, report)
    for way, call in (
        ("Classify", services.classifier.Classify),
        ("ScreenCells", services.classifier.ScreenCells),
    ):
        await _crops(way, call, files, report)


def _unary(services: Services) -> Iterator[tuple[str, str, Callable[[bytes], Any]]]:
    gateway, detector, classifier = services.gateway, services.detector, services.classifier
    yield (
        "AnalyzeField",
        "field.image",
        lambda image: gateway.AnalyzeField(
            gateway_pb2.AnalyzeFieldRequest(field=gateway_pb2.Field(image=image)), timeout=TIMEOUT_S
        ),
    )
    yield (
        "DetectCells",
        "field.image",
        lambda image: gateway.DetectCells(
            gateway_pb2.DetectCellsRequest(field=gateway_pb2.Field(image=image)), timeout=TIMEOUT_S
        ),
    )
    yield (
        "ExplainCell",
        "cell.image",
        lambda image: gateway.ExplainCell(
            gateway_pb2.ExplainCellRequest(cell=gateway_pb2.LocatedCell(image=image)), timeout=TIMEOUT_S
        ),
    )
    yield (
        "Detect",
        "image",
        lambda image: _all(detector.Detect(detector_pb2.DetectRequest(image=image), timeout=TIMEOUT_S)),
    )
    yield (
        "ScreenField",
        "image",
        lambda image: classifier.ScreenField(
            classifier_pb2.ScreenFieldRequest(image=image), timeout=TIMEOUT_S
        ),
    )


async def _all(stream: Any) -> list[Any]:
    return [answer async for answer in stream]


async def _outcome(call: Awaitable[Any]) -> tuple[int, status_pb2.Status | None]:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
        status = status_pb2.Status.FromString(details) if isinstance(details, bytes) else None
        return error.code().value[0], status
    return 0, None


async def _smear(services: Services, files: list[NastyFile], report: Report) -> None:
    async def messages() -> AsyncIterator[gateway_pb2.AnalyzeSmearRequest]:
        yield gateway_pb2.AnalyzeSmearRequest(open=gateway_pb2.OpenSmear(smear_id="nasty"))
        for number, file in enumerate(files):
            one = gateway_pb2.Field(field_id=str(number), sequence=number, image=file.data)
            yield gateway_pb2.AnalyzeSmearRequest(field=one)

    answered: set[str] = set()
    async for response in services.gateway.AnalyzeSmear(messages(), timeout=600):
        if response.WhichOneof("message") == "smear_result":
            continue
        result = response.field_result
        answered.add(result.field_id)
        status = result.error if result.HasField("error") else None
        file = files[int(result.field_id)]
        report.judge("AnalyzeSmear", file, 0 if status is None else status.code, status, "field.image")
    if len(answered) != len(files):
        report.wrong.append(f"AnalyzeSmear: {len(answered)} of {len(files)} fields answered")


async def _cells(services: Services, files: list[NastyFile], report: Report) -> None:
    remaining = iter(files)
    while batch := list(islice(remaining, _CELLS_A_REQUEST)):
        request = gateway_pb2.ClassifyCellsRequest(
            cells=[gateway_pb2.LocatedCell(image=file.data) for file in batch]
        )
        (response,) = await _all(services.gateway.ClassifyCells(iter([request]), timeout=TIMEOUT_S))
        for index, (file, cell) in enumerate(zip(batch, response.cells, strict=True)):
            status = cell.error if cell.HasField("error") else None
            report.judge("ClassifyCells", file, status.code if status else 0, status, f"cells[{index}].image")


async def _crops(way: str, call: Any, files: list[NastyFile], report: Report) -> None:
    """As encoded crops; these have to be squares, PNG or JPEG, so hardly any is sound."""
    message = classifier_pb2.ClassifyRequest if way == "Classify" else classifier_pb2.ScreenCellsRequest
    for encoding in (cells_pb2.CROP_ENCODING_PNG, cells_pb2.CROP_ENCODING_JPEG):
        for batch in _small_batches(files):
            crops = [cells_pb2.Crop(encoding=encoding, data=file.data) for file in batch]
            request = message(cells=[classifier_pb2.CellToClassify(crop=crop) for crop in crops])
            (response,) = await _all(call(iter([request]), timeout=TIMEOUT_S))
            for index, (file, cell) in enumerate(zip(batch, response.cells, strict=True)):
                status = cell.error if cell.HasField("error") else None
                name, path = _named(status.code if status else 0, status)
                report.answers[way, name] += 1
                if not (status and status.code == _INVALID.value[0] and path == f"cells[{index}].crop.data"):
                    report.wrong.append(f"{way}: {file.name}: {name} about {path!r}")


def _small_batches(files: list[NastyFile]) -> Iterator[list[NastyFile]]:
    batch: list[NastyFile] = []
    size = 0
    for file in files:
        if len(file.data) > _BYTES_A_REQUEST:
            continue
        if batch and (size + len(file.data) > _BYTES_A_REQUEST or len(batch) == _CELLS_A_REQUEST):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += len(file.data)
    yield batch


async def send_absurd(services: Services, requests: Iterable[AbsurdRequest], report: Report) -> None:
    """Requests with one absurd value each; those about single fields and cells are answered in their place."""
    for absurd in requests:
        if absurd.path in LENIENT.get(absurd.method, {}):
            continue
        code, status, responses = await _answers(services, absurd.method, absurd.request)
        for response in responses:
            for part in [getattr(response, "field_result", response), *getattr(response, "cells", ())]:
                if "error" in part.DESCRIPTOR.fields_by_name and part.HasField("error"):
                    code, status = part.error.code, part.error
        name, _ = _named(code, status)
        report.answers[absurd.method, name] += 1
        if code != _INVALID.value[0]:
            report.wrong.append(f"{absurd.method}: {absurd.path} = {absurd.value}: {name}")


async def _answers(
    services: Services, method: str, request: Any
) -> tuple[int, status_pb2.Status | None, list[Any]]:
    messages = [request]
    if method == "AnalyzeSmear" and request.WhichOneof("message") == "field":
        opened = gateway_pb2.OpenSmear(smear_id="absurd")
        messages.insert(0, gateway_pb2.AnalyzeSmearRequest(open=opened))
    stubs = (services.gateway, services.detector, services.classifier)
    call = next(getattr(stub, method) for stub in stubs if hasattr(stub, method))
    responses: list[Any] = []

    async def ask() -> None:
        streamed = isinstance(call, (grpc.aio.StreamStreamMultiCallable,))
        answer = call(iter(messages) if streamed else request, timeout=TIMEOUT_S)
        if hasattr(answer, "__aiter__"):
            responses.extend([response async for response in answer])
        else:
            responses.append(await answer)

    code, status = await _outcome(ask())
    return code, status, responses


async def send_unreadable(
    channels: dict[str, grpc.aio.Channel], methods: Iterable[Any], report: Report
) -> None:
    """Bytes that are no message at all, to every method; `channels` by the name of the service."""
    for method in methods:
        channel = channels[method.containing_service.name]
        path = f"/{method.containing_service.full_name}/{method.name}"
        for data in _UNREADABLE:
            code, status = await _outcome(_raw(channel, path, method, data))
            name, field_named = _named(code, status)
            report.answers[method.name, name] += 1
            if (code, field_named) != (_INVALID.value[0], "request"):
                report.wrong.append(f"{method.name}: {data!r}: {name}")


async def _raw(channel: Any, path: str, method: Any, data: bytes) -> None:
    if method.client_streaming:
        await _all(channel.stream_stream(path)(iter([data]), timeout=TIMEOUT_S))
    elif method.server_streaming:
        await _all(channel.unary_stream(path)(data, timeout=TIMEOUT_S))
    else:
        await channel.unary_unary(path)(data, timeout=TIMEOUT_S)
