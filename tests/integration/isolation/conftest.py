"""Three ways to a network that says each crop's tag: Triton itself, the classifier, and the gateway."""

from __future__ import annotations

import asyncio
import io
from contextlib import AsyncExitStack

import grpc.aio
import numpy as np
import pytest
from PIL import Image

from hemaserve.v1 import cells_pb2, classifier_pb2, classifier_pb2_grpc, gateway_pb2, gateway_pb2_grpc
from services.classifier.application import open_application as open_classifier
from services.classifier.settings import ClassifierSettings
from services.gateway.application import open_application as open_gateway
from services.gateway.settings import GatewaySettings
from services.runtime.server import running
from services.triton.client import TritonClient

from .tagged import TAGGED, Row, crop, write_networks

ANYWHERE = {"listen": "127.0.0.1:0", "metrics_listen": "127.0.0.1:0"}
CLIENTS = 6
UNREADABLE = b"no pixels"


@pytest.fixture(scope="session")
def tagged_triton(start_triton, tmp_path_factory):
    """A Triton of networks that say tags."""
    folder = tmp_path_factory.mktemp("tagged")
    write_networks(folder)
    # Triton 2.51 counts an ensemble's request as in flight for ever when one of two members at work on it fails.
    with start_triton(folder, stop_timeout_s=1.0) as server:
        yield server


@pytest.fixture(scope="session")
async def classifier_address(tagged_triton):
    settings = ClassifierSettings(
        triton_address=tagged_triton.grpc_address, default_model=TAGGED, default_members=(), **ANYWHERE
    )
    async with running(await open_classifier(settings), settings, name="classifier") as server:
        yield server.address


@pytest.fixture(scope="session")
async def gateway_address(classifier_address):
    # Located cells need no detector: nobody listens there.
    settings = GatewaySettings(
        classifier_address=classifier_address, detector_address="127.0.0.1:1", **ANYWHERE
    )
    async with running(await open_gateway(settings), settings, name="gateway") as server:
        yield server.address


class Way:
    """`CLIENTS` clients of one service, each with a connection of its own."""

    def __init__(self, clients):
        self.clients = clients

    async def ask(self, client, model, tags, *, unreadable=(), timeout_s=60.0):
        """Tags sent, each with the row that came back in its place; those at the places `unreadable` have none."""
        raise NotImplementedError


class ThroughTriton(Way):
    async def ask(self, client, model, tags, *, unreadable=(), timeout_s=60.0):
        # There is no such thing here as a crop that cannot be read: those are left out.
        readable = [tag for place, tag in enumerate(tags) if place not in unreadable]
        rows = []
        for start in range(0, len(readable), 16):
            batch = np.stack([crop(tag) for tag in readable[start : start + 16]])
            answer = await self.clients[client].infer(
                model, {"crops": batch}, ["probabilities", "ood_score"], timeout_s=timeout_s
            )
            scores, probabilities = answer["ood_score"], answer["probabilities"]
            assert len(scores) == len(probabilities) == len(batch)
            rows += [
                Row(float(score[0]), list(each)) for score, each in zip(scores, probabilities, strict=True)
            ]
        return list(zip(readable, rows, strict=True))


class ThroughClassifier(Way):
    async def ask(self, client, model, tags, *, unreadable=(), timeout_s=60.0):
        cells = [
            classifier_pb2.CellToClassify(
                field_id=f"field of {tag}",
                crop=cells_pb2.Crop(
                    cell_id=str(tag),
                    size_px=crop(tag).shape[0],
                    data=UNREADABLE if place in unreadable else crop(tag).tobytes(),
                ),
            )
            for place, tag in enumerate(tags)
        ]
        # As a stream of several requests: several of them are under way at a time.
        requests = [
            classifier_pb2.ClassifyRequest(model=model, cells=cells[start : start + 12])
            for start in range(0, len(cells), 12)
        ]
        answers = await _answers(self.clients[client].Classify(timeout=timeout_s), requests)
        assert [(cell.cell_id, cell.field_id) for cell in answers] == [
            (str(tag), f"field of {tag}") for tag in tags
        ]
        return _rows(tags, answers, unreadable)


class ThroughGateway(Way):
    async def ask(self, client, model, tags, *, unreadable=(), timeout_s=60.0):
        cells = [
            gateway_pb2.LocatedCell(cell_id=str(tag), image=UNREADABLE if place in unreadable else _png(tag))
            for place, tag in enumerate(tags)
        ]
        request = gateway_pb2.ClassifyCellsRequest(model=model, cells=cells)
        answers = await _answers(self.clients[client].ClassifyCells(timeout=timeout_s), [request])
        assert [cell.cell_id for cell in answers] == [str(tag) for tag in tags]
        return _rows(tags, answers, unreadable)


async def _answers(call, requests):
    async def send():
        for request in requests:
            await call.write(request)
        await call.done_writing()

    # Not handed over as an iterator: grpc.aio then now and then reports a call that ended early as cancelled by us.
    sending = asyncio.create_task(send())
    try:
        return [cell async for response in call for cell in response.cells]
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        call.cancel()


def _png(tag):
    file = io.BytesIO()
    Image.fromarray(crop(tag, side=24)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _rows(tags, answers, unreadable):
    rows = []
    for place, (tag, cell) in enumerate(zip(tags, answers, strict=True)):
        assert cell.WhichOneof("outcome") == ("error" if place in unreadable else "classification")
        if place not in unreadable:
            said = cell.classification
            rows.append((tag, Row(said.ood_score, [each.probability for each in said.leaf_probabilities])))
    return rows


@pytest.fixture(scope="session", params=["triton", "classifier", "gateway"])
async def way(request, tagged_triton, classifier_address, gateway_address):
    async with AsyncExitStack() as opened:
        if request.param == "triton":
            address = tagged_triton.grpc_address
            yield ThroughTriton(
                [await opened.enter_async_context(TritonClient(address)) for _ in range(CLIENTS)]
            )
            return
        kind, stub, address = {
            "classifier": (ThroughClassifier, classifier_pb2_grpc.ClassifierServiceStub, classifier_address),
            "gateway": (ThroughGateway, gateway_pb2_grpc.SmearServiceStub, gateway_address),
        }[request.param]
        # Without this option, channels to one address share a connection.
        options = [("grpc.use_local_subchannel_pool", 1)]
        channels = [
            await opened.enter_async_context(grpc.aio.insecure_channel(address, options=options))
            for _ in range(CLIENTS)
        ]
        yield kind([stub(channel) for channel in channels])
