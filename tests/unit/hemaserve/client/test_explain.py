"""Explanations through both clients: typed, as NumPy maps, and with errors that say what to do."""

import json

import numpy as np
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from hemaserve.cells import CellType
from hemaserve.client import Client, FailedPreconditionError, HemaServeError, LocatedCell
from hemaserve.geometry import Box
from hemaserve.results import Priority, as_json
from hemaserve.v1 import cells_pb2, gateway_pb2

from .fake_gateway import FakeGateway, bad_argument, served

IMAGE = b"an image"


def not_explainable():
    message = "model: the answers of classification model 'plain' cannot be explained; those that can: vit"
    status = status_pb2.Status(code=code_pb2.FAILED_PRECONDITION, message=message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="MODEL_NOT_EXPLAINABLE", domain="hemaserve"))
    return status


async def test_an_explanation_is_a_map_with_its_place():
    async with served(FakeGateway()) as address, Client(address) as client:
        answer = await client.explain_cell(LocatedCell(IMAGE, "mine"))
    assert answer.cell_id == "mine"
    assert answer.classification.type is answer.explanation.type is CellType.NEUTROPHIL_BAND
    heat = answer.explanation.heat
    assert heat.dtype == np.float32
    np.testing.assert_allclose(heat, [[0, 0.2, 0.4], [0.6, 0.8, 1]], atol=1e-6)
    assert answer.explanation.area == Box(-2, 1, 8, 11)


async def test_what_is_asked_for_is_sent(tmp_path):
    path = tmp_path / "cell.png"
    path.write_bytes(IMAGE)
    gateway = FakeGateway()
    async with served(gateway) as address, Client(address) as client:
        answer = await client.explain_cell(
            LocatedCell(path, box=Box(1, 2, 3, 4)),
            cell_type=CellType.MONOCYTE,
            model="vit",
            site_profile="a-lab",
            priority=Priority.BATCH,
        )
    (request,) = gateway.explain_requests
    assert request.cell.image == IMAGE
    assert request.cell.box == cells_pb2.Box(x0_px=1, y0_px=2, x1_px=3, y1_px=4)
    assert (request.model, request.site_profile) == ("vit", "a-lab")
    assert request.type == cells_pb2.CELL_TYPE_MONOCYTE
    assert request.priority == gateway_pb2.PRIORITY_BATCH
    assert answer.explanation.type is CellType.MONOCYTE


async def test_without_a_wish_the_service_chooses_the_type():
    gateway = FakeGateway()
    async with served(gateway) as address, Client(address) as client:
        await client.explain_cell(IMAGE)
    assert gateway.explain_requests[0].type == cells_pb2.CELL_TYPE_UNSPECIFIED


async def test_a_model_that_cannot_be_explained_is_an_error_that_names_others():
    gateway = FakeGateway()
    gateway.failures.append(not_explainable())
    async with served(gateway) as address, Client(address) as client:
        with pytest.raises(FailedPreconditionError, match="those that can: vit") as caught:
            await client.explain_cell(IMAGE, model="plain")
    assert caught.value.reason == "MODEL_NOT_EXPLAINABLE"


async def test_a_damaged_image_is_an_error_that_names_the_field():
    gateway = FakeGateway()
    gateway.failures.append(bad_argument())
    async with served(gateway) as address, Client(address) as client:
        with pytest.raises(HemaServeError) as caught:
            await client.explain_cell(IMAGE)
    assert caught.value.reason == "IMAGE_DAMAGED"


async def test_the_models_say_whether_they_can_be_explained():
    async with served(FakeGateway()) as address, Client(address) as client:
        (model,) = await client.list_models()
    assert model.explainable


async def test_an_explanation_is_plain_json():
    async with served(FakeGateway()) as address, Client(address) as client:
        answer = await client.explain_cell(IMAGE)
    document = json.loads(json.dumps(as_json(answer)))
    assert document["explanation"]["heat"][1][2] == 1
    assert document["explanation"]["type"] == "neutrophil_band"
