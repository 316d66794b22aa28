"""A gateway on loopback between a detector and a classifier that do as a test tells them.

A "field" here is not an image but a script in JSON: its name, and the cells that the detector shall find in it. A
"crop" is filled with the number of its cell's type; 0 stands for a cell that the classifier does not name. What is
real: gRPC, the runtime's server, and all of the gateway.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
import pytest

from hemaserve.errors import DomainError, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from hemaserve.v1 import (
    cells_pb2,
    classifier_pb2,
    classifier_pb2_grpc,
    detector_pb2,
    detector_pb2_grpc,
    gateway_pb2,
    gateway_pb2_grpc,
)
from services.gateway.application import GatewayApplication
from services.gateway.settings import GatewaySettings
from services.runtime.errors import to_status
from services.runtime.server import running
from services.runtime.settings import ServiceSettings

CROP_SIZE = 16
CROP_MARGIN = 0.25
UNNAMED = 0
REFUSED_CROP = 255
UNSCREENABLE_CROP = 254
FLAGGED_PX = 35
"""Cells whose boxes are at least as wide are flagged by the screen, whatever their type."""
WBC, RBC = cells_pb2.CELL_KIND_WBC, cells_pb2.CELL_KIND_RBC
PATIENCE_S = 20.0


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds; fails the test when it never does."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 - the conditions are about remote sides
            await asyncio.sleep(0.002)


@dataclass
class Seen:
    """What a fake saw of one call."""

    name: str
    time_left_s: float | None
    metadata: dict[str, str]
    request: Any = None
    cells: list[str] = field(default_factory=list)
    ended: str = ""


class Fake:
    """What both fakes share: calls that were seen, gates, and errors to give."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Be as new."""
        self.calls: list[Seen] = []
        self.errors: dict[str, DomainError] = {}
        self.serving = True
        self.most_at_once = 0
        self.jitter_s = 0.0
        self._gates: dict[str, asyncio.Event] = {}

    def hold(self, name: str) -> asyncio.Event:
        """From now on the field `name` waits here until the event is set."""
        return self._gates.setdefault(name, asyncio.Event())

    async def gate(self, name: str) -> None:
        if self.jitter_s:
            await asyncio.sleep(random.uniform(0, self.jitter_s))
        if name in self._gates:
            await self._gates[name].wait()

    def seen(self, name: str) -> list[Seen]:
        return [call for call in self.calls if call.name == name]

    @property
    def at_work(self) -> set[str]:
        return {call.name for call in self.calls if not call.ended}

    def begin(self, name: str, context: Any, request: Any = None) -> Seen:
        metadata = {str(key): str(value) for key, value in context.invocation_metadata() or ()}
        call = Seen(name, context.time_remaining(), metadata, request)
        self.calls.append(call)
        self.most_at_once = max(self.most_at_once, sum(not call.ended for call in self.calls))
        return call

    async def check(self) -> None:
        if not self.serving:
            raise Unavailable("the test said so")

    async def close(self) -> None: ...


class FakeDetector(Fake, detector_pb2_grpc.DetectorServiceServicer):
    service_names = (detector_pb2.DESCRIPTOR.services_by_name["DetectorService"].full_name,)

    def register(self, server: grpc.aio.Server) -> None:
        detector_pb2_grpc.add_DetectorServiceServicer_to_server(self, server)

    async def Detect(self, request, context):
        try:
            script = json.loads(request.image)
        except ValueError:
            raise InvalidArgument("image", "not an image", "an image", reason="IMAGE_UNREADABLE") from None
        name = script["name"]
        call = self.begin(name, context, request)
        try:
            await self.gate(name)
            if name in self.errors:
                raise self.errors[name]
            cells = script["cells"]
            yield detector_pb2.DetectResponse(field=self._info(request.image, len(cells)))
            for number, chunk in enumerate(_chunks(cells, script["chunk"])):
                await self.gate(f"{name}/{number}")
                yield self._found(number * script["chunk"], chunk, request)
            call.ended = "done"
        finally:
            call.ended = call.ended or "stopped"

    async def ListDetectors(self, request, context):
        return detector_pb2.ListDetectorsResponse(
            models=[
                cells_pb2.Model(name="yolo", task=cells_pb2.MODEL_TASK_DETECTION, is_default=True, ready=True)
            ]
        )

    def _info(self, image: bytes, detections: int) -> detector_pb2.FieldInfo:
        return detector_pb2.FieldInfo(
            width_px=640,
            height_px=480,
            tiles=1,
            detections=detections,
            image_sha256=hashlib.sha256(image).hexdigest(),
            provenance=cells_pb2.Provenance(
                detector=cells_pb2.ModelProvenance(name="yolo", version="1", sha256="d" * 64),
                preprocessing_version="1",
                score_thresholds=[0.5, 0.25, 0.25],
            ),
        )

    def _found(self, start: int, cells, request) -> detector_pb2.DetectResponse:
        response = detector_pb2.DetectResponse()
        for index, cell in enumerate(cells, start):
            x, y, side = cell["box"] or (40 * (index % 16), 40 * (index // 16), 30)
            response.detections.add(
                cell_id=f"c{index}",
                box=cells_pb2.Box(x0_px=x, y0_px=y, x1_px=x + side, y1_px=y + side),
                kind=cell["kind"],
                score=0.9,
            )
            if cell["kind"] in request.crop_kinds and request.crop_encoding != cells_pb2.CROP_ENCODING_NONE:
                response.crops.add(
                    cell_id=f"c{index}",
                    size_px=request.crop_size_px,
                    encoding=request.crop_encoding,
                    data=bytes([cell["type"]]) * (3 * request.crop_size_px**2),
                )
        return response


class FakeClassifier(Fake, classifier_pb2_grpc.ClassifierServiceServicer):
    service_names = (classifier_pb2.DESCRIPTOR.services_by_name["ClassifierService"].full_name,)

    def forget(self) -> None:
        super().forget()
        self.degraded: set[str] = set()
        self.lists = 0
        self.swap_answers = False
        self.flagged_fields: set[str] = set()
        self.screen_errors: dict[str, DomainError] = {}
        self.models = ["vit", "xception"]
        self.asleep: list[str] = []
        self.told_asleep = False
        self.screen_there = True
        self.screen_loaded = True
        self.screen_margin = CROP_MARGIN
        self.unscreened_cells = False
        self.screened: list[str] = []

    def register(self, server: grpc.aio.Server) -> None:
        classifier_pb2_grpc.add_ClassifierServiceServicer_to_server(self, server)

    async def Classify(self, request_iterator, context):
        call = self.begin("", context)
        try:
            async for request in request_iterator:
                if not request.cells:
                    self._wake(request.model)
                    yield classifier_pb2.ClassifyResponse()
                    continue
                call.name = call.name or request.cells[0].field_id
                call.request = request
                call.cells += [cell.crop.cell_id for cell in request.cells]
                await self.gate(call.name)
                if call.name in self.errors:
                    raise self.errors[call.name]
                cells = [self._name(cell) for cell in request.cells]
                yield classifier_pb2.ClassifyResponse(
                    cells=reversed(cells) if self.swap_answers else cells,
                    provenance=cells_pb2.Provenance(
                        classifier=cells_pb2.ModelProvenance(
                            name=request.model or "vit", version="1", sha256="c" * 64
                        ),
                        identify_threshold=0.75,
                        preprocessing_version="1",
                        site_profile=_profile_source(request.site_profile),
                    ),
                )
            call.ended = "done"
        finally:
            call.ended = call.ended or "stopped"

    async def Explain(self, request, context):
        call = self.begin("explain", context, request)
        try:
            await self.gate("explain")
            if "explain" in self.errors:
                raise self.errors["explain"]
            answer = self._name(request.cell)
            call.ended = "done"
            return classifier_pb2.ExplainResponse(
                classification=answer.classification,
                explanation=cells_pb2.Explanation(
                    type=request.type or answer.classification.type, width=2, height=1, values=b"\x00\xff"
                ),
                provenance=cells_pb2.Provenance(
                    classifier=cells_pb2.ModelProvenance(name=request.model or "vit", version="1"),
                    site_profile=_profile_source(request.site_profile),
                ),
            )
        finally:
            call.ended = call.ended or "stopped"

    async def ListClassifiers(self, request, context):
        self.lists += 1
        shape = {"input_size_px": CROP_SIZE, "crop_margin": CROP_MARGIN, "ready": True}
        task = cells_pb2.MODEL_TASK_CLASSIFICATION
        return classifier_pb2.ListClassifiersResponse(
            models=[
                *(
                    cells_pb2.Model(name=name, task=task, is_default=name == "vit", **shape)
                    for name in self.models
                ),
                *(self._screens() if self.screen_loaded else ()),
                *(cells_pb2.Model(name=name, on_request=True) for name in self.asleep if self.told_asleep),
            ]
        )

    async def ScreenField(self, request, context):
        name = json.loads(request.image)["name"]
        self.screened.append(name)
        if name in self.screen_errors:
            raise self.screen_errors[name]
        return classifier_pb2.ScreenFieldResponse(
            finding=_finding(name in self.flagged_fields), model=_screen_source("leukemia_field")
        )

    async def ScreenCells(self, request_iterator, context):
        if not self.screen_there:
            raise FailedPrecondition("no screen", reason="SCREEN_NOT_LOADED")
        self.screen_loaded = True
        async for request in request_iterator:
            # Which field a cell is of, the fake knows from the id alone.
            if "cells" in self.screen_errors:
                raise self.screen_errors["cells"]
            cells = [self._screen(cell) for cell in request.cells]
            yield classifier_pb2.ScreenCellsResponse(
                cells=cells[:-1] if self.unscreened_cells else cells, model=_screen_source("leukemia_cell")
            )

    def _wake(self, model: str) -> None:
        if model not in self.asleep:
            available = ", ".join(self.models)
            message = f"no classification model {model!r}; available: {available}"
            raise NotFound(message, reason="MODEL_NOT_FOUND")
        self.asleep.remove(model)
        self.models.append(model)

    def _screen(self, cell: classifier_pb2.CellToClassify) -> classifier_pb2.ScreenedCell:
        self.screened.append(cell.crop.cell_id)
        if cell.crop.data[0] == UNSCREENABLE_CROP:
            error = to_status(InvalidArgument("crop", "odd", "even"))
            return classifier_pb2.ScreenedCell(cell_id=cell.crop.cell_id, error=error)
        # Large boxes are flagged: independent of the type, which is in the pixels.
        flagged = cell.box.x1_px - cell.box.x0_px >= FLAGGED_PX
        return classifier_pb2.ScreenedCell(cell_id=cell.crop.cell_id, finding=_finding(flagged))

    def _screens(self) -> list[cells_pb2.Model]:
        field, cell = cells_pb2.MODEL_TASK_SCREEN_FIELD, cells_pb2.MODEL_TASK_SCREEN_CELL
        margin = self.screen_margin
        return [
            cells_pb2.Model(name="leukemia_field", task=field, input_size_px=160, ready=True),
            cells_pb2.Model(
                name="leukemia_cell", task=cell, input_size_px=CROP_SIZE, crop_margin=margin, ready=True
            ),
        ]

    async def ListClassifierSiteProfiles(self, request, context):
        profile = cells_pb2.SiteProfile(name="a-lab", sha256="e" * 64, fields=12, white_cells=34)
        return classifier_pb2.ListClassifierSiteProfilesResponse(site_profiles=[profile])

    def _name(self, cell: classifier_pb2.CellToClassify) -> classifier_pb2.ClassifiedCell:
        answer = classifier_pb2.ClassifiedCell(
            field_id=cell.field_id, cell_id=cell.crop.cell_id, box=cell.box
        )
        number = cell.crop.data[0]
        if number == REFUSED_CROP:
            answer.error.CopyFrom(to_status(InvalidArgument("crop", "odd", "even")))
            return answer
        answer.classification.CopyFrom(
            cells_pb2.Classification(
                identified=number != UNNAMED,
                type=number or cells_pb2.CELL_TYPE_MONOCYTE,
                primary_type=number or cells_pb2.CELL_TYPE_MONOCYTE,
                probability=0.9,
                degraded=cell.field_id in self.degraded,
            )
        )
        return answer


def _finding(flagged: bool) -> cells_pb2.ScreenFinding:
    probability = 0.9 if flagged else 0.1
    classes = [
        {"class": "benign", "probability": 1 - probability},
        {"class": "bad", "probability": probability},
    ]
    return cells_pb2.ScreenFinding(
        flagged=flagged,
        probability=probability,
        classes=[cells_pb2.ScreenProbability(**one) for one in classes],
    )


def _screen_source(name: str) -> cells_pb2.ModelProvenance:
    return cells_pb2.ModelProvenance(name=name, version="1", sha256="5" * 64)


def _profile_source(name: str) -> cells_pb2.SiteProfileProvenance | None:
    return cells_pb2.SiteProfileProvenance(name=name, sha256="e" * 64) if name else None


def _chunks(cells: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [cells[start : start + size] for start in range(0, len(cells), size)]


@dataclass
class World:
    """A running gateway with its two fakes, and a stub to call it."""

    detector: FakeDetector
    classifier: FakeClassifier
    application: GatewayApplication
    stub: gateway_pb2_grpc.SmearServiceAsyncStub
    channel: grpc.aio.Channel
    address: str

    @staticmethod
    def cell(
        cell_type: int, *, kind: int = WBC, box: tuple[float, float, float] | None = None
    ) -> dict[str, Any]:
        """A cell of a script; `box` is x, y and side in pixels."""
        return {"type": cell_type, "kind": kind, "box": box}

    @staticmethod
    def field(
        name: str,
        cells: Iterable[int | dict[str, Any]],
        *,
        sequence: int = 0,
        chunk: int = 4,
        **acquisition: Any,
    ) -> gateway_pb2.Field:
        """A field whose script is `cells`: each the number of its type, or made by `cell`."""
        script = {
            "name": name,
            "cells": [World.cell(cell) if isinstance(cell, int) else cell for cell in cells],
            "chunk": chunk,
        }
        return gateway_pb2.Field(
            field_id=name,
            image=json.dumps(script).encode(),
            sequence=sequence,
            acquisition=gateway_pb2.Acquisition(**acquisition),
        )

    @staticmethod
    def opening(smear_id: str = "smear", **parts: Any) -> gateway_pb2.AnalyzeSmearRequest:
        return gateway_pb2.AnalyzeSmearRequest(open=gateway_pb2.OpenSmear(smear_id=smear_id, **parts))

    async def smear(
        self, fields: Iterable[gateway_pb2.Field], **opening: Any
    ) -> tuple[list[gateway_pb2.FieldResult], gateway_pb2.SmearResult]:
        """One whole smear: its field results as they came, and its result."""
        messages = [
            self.opening(**opening),
            *(gateway_pb2.AnalyzeSmearRequest(field=field) for field in fields),
        ]
        responses = [
            response async for response in self.stub.AnalyzeSmear(iter(messages), timeout=PATIENCE_S)
        ]
        assert [response.WhichOneof("message") for response in responses][-1:] == ["smear_result"]
        return [response.field_result for response in responses[:-1]], responses[-1].smear_result


Make = Callable[..., Awaitable[World]]


async def open_world(stack: AsyncExitStack, **settings: Any) -> World:
    """Start a gateway with those settings, and what is behind it."""
    fakes = FakeDetector(), FakeClassifier()
    quick = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0", "health_interval_s": 0.05}
    addresses = []
    for fake in fakes:
        server = running(fake, ServiceSettings(**quick, drain_grace_s=0), name="fake")
        addresses.append((await stack.enter_async_context(server)).address)
    chosen = GatewaySettings(
        **quick,
        detector_address=addresses[0],
        classifier_address=addresses[1],
        **{"drain_grace_s": 0, **settings},
    )
    application = GatewayApplication(chosen)
    server = await stack.enter_async_context(running(application, chosen, name="gateway"))
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
    return World(*fakes, application, gateway_pb2_grpc.SmearServiceStub(channel), channel, server.address)


@pytest.fixture
async def make_world() -> AsyncIterator[Make]:
    """`await make_world(**settings)`: a gateway of the test's own with those settings."""
    async with AsyncExitStack() as stack:
        yield lambda **settings: open_world(stack, **settings)


@pytest.fixture(scope="session")
async def _shared_world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield await open_world(stack)


@pytest.fixture
def world(_shared_world: World) -> World:
    """A gateway with default settings; its detector and classifier have forgotten earlier tests."""
    _shared_world.detector.forget()
    _shared_world.classifier.forget()
    return _shared_world


@pytest.fixture(scope="session")
def wait_until() -> Callable[[Callable[[], bool]], Any]:
    return until
