"""A gateway that answers as the image tells it to: an image's bytes are the answer in JSON."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from hemaserve.v1 import cells_pb2, gateway_pb2, gateway_pb2_grpc

SCREEN_CLASSES = ("benign", "early", "pre", "pro")
PNG = b"\x89PNG"
OWN_THRESHOLDS = (0.5, 0.4, 0.3)


def scripted(
    *,
    width: int = 100,
    height: int = 100,
    cells: list[dict] | None = None,
    middle: dict | None = None,
    **more,
) -> bytes:
    """An "image". `cells`: dicts of box, kind, score, probabilities, identified, reasons; `middle`: the answer when
    the middle of the image is classified; `reason`: the error to answer with instead."""
    script = {"width": width, "height": height, "cells": cells or [], "middle": middle, **more}
    return json.dumps(script).encode()


def _classification(cell: dict) -> cells_pb2.Classification:
    probabilities = {
        cells_pb2.CellType.Value(f"CELL_TYPE_{name.upper()}"): probability
        for name, probability in cell["probabilities"].items()
    }
    likeliest = max(probabilities, key=lambda cell_type: probabilities[cell_type])
    return cells_pb2.Classification(
        identified=cell.get("identified", True),
        type=likeliest,
        primary_type=likeliest,
        unidentified_reasons=[
            cells_pb2.UnidentifiedReason.Value(f"UNIDENTIFIED_REASON_{reason.upper()}")
            for reason in cell.get("reasons", ())
        ],
        leaf_probabilities=[
            cells_pb2.TypeProbability(type=cell_type, probability=probability)
            for cell_type, probability in probabilities.items()
        ],
    )


def _finding(probabilities: list[float]) -> cells_pb2.ScreenFinding:
    """A field's finding has four classes, a cell's two; the first is benign, and half of the others flags."""
    names = SCREEN_CLASSES if len(probabilities) == len(SCREEN_CLASSES) else ("benign", "blast-like")
    classes = [
        cells_pb2.ScreenProbability(**{"class": name, "probability": probability})
        for name, probability in zip(names, probabilities, strict=True)
    ]
    flagging = sum(probabilities[1:])
    return cells_pb2.ScreenFinding(flagged=flagging >= 0.5, probability=flagging, classes=classes)


def _detection(index: int, cell: dict) -> cells_pb2.Detection:
    x0, y0, x1, y1 = cell["box"]
    return cells_pb2.Detection(
        cell_id=str(index),
        box=cells_pb2.Box(x0_px=x0, y0_px=y0, x1_px=x1, y1_px=y1),
        kind=cells_pb2.CellKind.Value(f"CELL_KIND_{cell.get('kind', 'wbc').upper()}"),
        score=cell.get("score", 0.9),
    )


def _status(reason: str) -> status_pb2.Status:
    codes = {"QUEUE_FULL": code_pb2.RESOURCE_EXHAUSTED, "BROKEN": code_pb2.INTERNAL}
    status = status_pb2.Status(
        code=codes.get(reason, code_pb2.INVALID_ARGUMENT), message=f"refused: {reason.lower()}"
    )
    details = [error_details_pb2.ErrorInfo(reason=reason, domain="hemaserve")]
    if reason == "QUEUE_FULL":
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.nanos = 1_000_000
        details.append(retry)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status


@dataclass
class ScriptedGateway(gateway_pb2_grpc.SmearServiceServicer):
    """Counts what it is asked. After `answers_before_hold` answers it keeps the others back until `hold` is set, and
    sets `all_held` when it has `held_wanted` of them."""

    address: str = ""
    asked: int = 0
    fallbacks: int = 0
    whole: int = 0
    most_at_once: int = 0
    models: set[str] = field(default_factory=set)
    refusals: int = 0
    screens: bool = True
    woken: bool = False
    hold: threading.Event = field(default_factory=threading.Event)
    answers_before_hold: int | None = None
    held: int = 0
    all_held: threading.Event = field(default_factory=threading.Event)
    held_wanted: int = 1
    _at_once: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def _script(self, image: bytes, context: grpc.ServicerContext) -> dict:
        with self._lock:
            self.asked += 1
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            must_wait = self.answers_before_hold is not None and self.asked > self.answers_before_hold
            self.held += must_wait
            if self.held >= self.held_wanted:
                self.all_held.set()
            refuse = self.refusals > 0
            self.refusals -= refuse
        try:
            if must_wait:
                self.hold.wait(timeout=60)
            if refuse:
                context.abort_with_status(rpc_status.to_status(_status("QUEUE_FULL")))
            script = json.loads(image)
            if script.get("reason"):
                context.abort_with_status(rpc_status.to_status(_status(script["reason"])))
            return script
        finally:
            with self._lock:
                self._at_once -= 1

    def ListModels(self, request, context):
        model = cells_pb2.Model(name="leukemia_field", task=cells_pb2.MODEL_TASK_SCREEN_FIELD)
        model.screen_classes.extend(SCREEN_CLASSES)
        model.screen_flag_classes.extend(SCREEN_CLASSES[1:])
        return gateway_pb2.ListModelsResponse(models=[model] if self.woken else [])

    def AnalyzeField(self, request, context):
        if request.field.image.startswith(PNG):
            return self._wake(request, context)
        script = self._script(request.field.image, context)
        self.models.add(request.options.model)
        kinds = {cells_pb2.CellKind.Name(kind) for kind in request.options.kinds}
        result = gateway_pb2.FieldResult(width_px=script["width"], height_px=script["height"])
        result.provenance.detector.name = "yolo"
        result.provenance.classifier.name = request.options.model or "default"
        for index, cell in enumerate(script["cells"]):
            if f"CELL_KIND_{cell.get('kind', 'wbc').upper()}" in kinds:
                result.cells.append(
                    gateway_pb2.Cell(
                        detection=_detection(index, cell),
                        classification=_classification(cell),
                        screen=_finding(cell["screen"]) if request.options.screen else None,
                    )
                )
        if request.options.screen:
            result.screen.CopyFrom(_finding(script["screen"]))
        return gateway_pb2.AnalyzeFieldResponse(result=result)

    def _wake(self, request, context):
        """A stack loads its screen when it is first asked for."""
        if not self.screens:
            status = _status("SCREEN_NOT_LOADED")
            status.code = code_pb2.FAILED_PRECONDITION
            context.abort_with_status(rpc_status.to_status(status))
        self.woken = True
        result = gateway_pb2.FieldResult(screen=_finding([1, 0, 0, 0]))
        return gateway_pb2.AnalyzeFieldResponse(result=result)

    def ClassifyCells(self, request_iterator, context):
        """What the cell in the box is scripted to be, by this model if it is scripted apart; else `middle`."""
        for request in request_iterator:
            self.models.add(request.model)
            response = gateway_pb2.ClassifyCellsResponse()
            response.provenance.classifier.name = request.model or "default"
            for cell in request.cells:
                script = json.loads(cell.image)
                box = cell.box
                corners = [box.x0_px, box.y0_px, box.x1_px, box.y1_px] if cell.HasField("box") else None
                found = [each for each in script["cells"] if list(each["box"]) == corners]
                self.whole += corners is None
                self.fallbacks += corners is not None and not found
                said = (found or [script["middle"]])[0]
                named = response.cells.add(cell_id=cell.cell_id)
                if said is None:
                    named.error.CopyFrom(_status("IMAGE_DAMAGED"))
                else:
                    named.classification.CopyFrom(_classification(said.get(request.model, said)))
            yield response

    def DetectCells(self, request, context):
        script = self._script(request.field.image, context)
        own = not request.HasField("score_threshold")
        thresholds = OWN_THRESHOLDS if own else (request.score_threshold,) * 3
        order = ("wbc", "rbc", "platelet")
        response = gateway_pb2.DetectCellsResponse(width_px=script["width"], height_px=script["height"])
        response.provenance.detector.name = "yolo"
        response.provenance.score_thresholds.extend(thresholds)
        for index, cell in enumerate(script["cells"]):
            if cell.get("score", 0.9) >= thresholds[order.index(cell.get("kind", "wbc"))]:
                response.detections.append(_detection(index, cell))
        return response


@pytest.fixture
def gateway() -> Iterator[ScriptedGateway]:
    servicer = ScriptedGateway()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32))
    gateway_pb2_grpc.add_SmearServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    servicer.address = f"127.0.0.1:{port}"
    server.start()
    yield servicer
    servicer.hold.set()
    server.stop(grace=None).wait()


@pytest.fixture
def image() -> Callable[..., bytes]:
    return scripted


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes | str], Path]:
    """Writes a file below the test's folder and returns its path."""

    def write_file(name: str, content: bytes | str = b"") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_file
