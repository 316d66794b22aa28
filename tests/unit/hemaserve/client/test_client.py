"""What calls answer and what they fail with."""

import asyncio
import socket
import threading

import grpc
import pytest
from google.rpc import code_pb2, status_pb2
from grpc_health.v1 import health_pb2

from hemaserve.cells import CellType, Kind
from hemaserve.client import (
    Backoff,
    Client,
    HemaServeError,
    InvalidArgumentError,
    LocatedCell,
    NotFoundError,
    ResourceExhaustedError,
    SyncClient,
    UnavailableError,
    translate,
)
from hemaserve.results import Priority, SiteProfileSource, as_json
from hemaserve.v1 import cells_pb2, gateway_pb2

from .fake_gateway import BAD_IMAGE, Break, FakeGateway, FakeHealth, bad_argument, busy, served

IMAGE = b"an image"


@pytest.fixture
def free_address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"127.0.0.1:{port}"


async def test_a_field_comes_back_typed(tmp_path):
    path = tmp_path / "field.png"
    path.write_bytes(IMAGE)
    async with served(FakeGateway()) as address, Client(address) as client:
        result = await client.analyze_field(path, field_id="f", kinds=[Kind.WBC], priority=Priority.STAT)
    (cell,) = result.cells
    assert (result.field_id, cell.kind, cell.identified) == ("f", Kind.WBC, True)
    assert cell.classification is not None
    assert cell.classification.type is CellType.NEUTROPHIL_BAND
    assert result.differential is not None


async def test_a_refusal_names_code_reason_and_field():
    gateway = FakeGateway()
    gateway.failures.append(bad_argument())
    async with served(gateway) as address, Client(address) as client:
        with pytest.raises(InvalidArgumentError) as caught:
            await client.analyze_field(IMAGE)
    error = caught.value
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "IMAGE_DAMAGED")
    assert error.violations[0].field == "field.image"
    assert "damaged" in str(error)


async def test_a_full_queue_says_when_to_come_back():
    gateway = FakeGateway()
    gateway.failures.append(busy(1.5))
    async with served(gateway) as address, Client(address) as client:
        with pytest.raises(ResourceExhaustedError) as caught:
            await client.analyze_field(IMAGE)
    assert caught.value.retry_after_s == pytest.approx(1.5)


async def test_a_moment_of_unavailability_is_bridged():
    gateway = FakeGateway()
    gateway.failures += [status_pb2.Status(code=code_pb2.UNAVAILABLE, message="away")] * 2
    async with served(gateway) as address, Client(address) as client:
        await client.analyze_field(IMAGE)
    assert gateway.calls == 3


async def test_a_code_without_a_class_of_its_own_is_still_our_error():
    gateway = FakeGateway()
    gateway.failures.append(status_pb2.Status(code=code_pb2.DATA_LOSS, message="?"))
    async with served(gateway) as address, Client(address) as client:
        with pytest.raises(HemaServeError) as caught:
            await client.analyze_field(IMAGE)
    assert caught.value.code == "DATA_LOSS"


async def test_nobody_at_the_address_is_said_soon(free_address):
    async with Client(free_address, connect_timeout_s=0.2) as client:
        with pytest.raises(UnavailableError) as caught:
            await client.list_models()
    assert caught.value.reason == "UNREACHABLE"
    assert free_address in str(caught.value)


async def test_health_follows_the_gateway():
    health = FakeHealth()
    async with served(FakeGateway(), health) as address, Client(address) as client:
        assert (await client.health()).serving
        health.status = health_pb2.HealthCheckResponse.NOT_SERVING
        assert not (await client.health()).serving
        health.unknown = True
        assert not (await client.health()).serving


async def test_cells_are_answered_in_order_over_many_requests():
    cells = [LocatedCell(BAD_IMAGE if index % 10 == 3 else IMAGE, f"c{index}") for index in range(300)]
    heard: list[str] = []
    async with served(FakeGateway()) as address, Client(address, window=2) as client:
        answers = await client.classify_cells(cells, on_result=lambda cell: heard.append(cell.cell_id))
    assert [answer.cell_id for answer in answers] == [cell.cell_id for cell in cells] == heard
    for index, answer in enumerate(answers):
        assert (answer.error is not None) == (index % 10 == 3)
        assert (answer.classification is None) == (answer.error is not None)


@pytest.mark.parametrize("answered", [0, 1, 3, 9])
async def test_a_broken_stream_of_cells_is_resumed(answered):
    gateway = FakeGateway([Break(answered), Break(answered)])
    cells = [LocatedCell(IMAGE, f"c{index}") for index in range(320)]
    quick = Backoff(initial_s=0.001, max_s=0.002)
    async with served(gateway) as address, Client(address, window=2, backoff=quick) as client:
        answers = await client.classify_cells(cells)
    assert [answer.cell_id for answer in answers] == [cell.cell_id for cell in cells]


async def test_a_refused_stream_of_cells_says_why():
    gateway = FakeGateway([Break(0, code=grpc.StatusCode.NOT_FOUND)] * 10)
    quick = Backoff(initial_s=0.001, max_s=0.002)
    async with served(gateway) as address, Client(address, backoff=quick) as client:
        with pytest.raises(NotFoundError):
            await client.classify_cells([IMAGE] * 320)


async def test_no_cells_are_no_answers():
    async with served(FakeGateway()) as address, Client(address) as client:
        assert await client.classify_cells([]) == []


async def test_an_unreadable_cell_ends_the_call(tmp_path):
    async with served(FakeGateway()) as address, Client(address) as client:
        with pytest.raises(FileNotFoundError):
            await client.classify_cells([IMAGE, tmp_path / "absent.png"])


async def test_a_closed_client_can_be_used_again():
    async with served(FakeGateway()) as address:
        client = Client(address)
        await client.list_models()
        await client.close()
        assert [model.name for model in await client.list_models()] == ["ensemble"]
        await client.close()


async def test_the_sync_client_gives_the_same_answers():
    def use(address: str) -> None:
        with SyncClient(address) as client:
            assert client.health().serving
            assert client.list_models()[0].is_default
            assert client.analyze_field(IMAGE).cells[0].identified
            assert client.analyze_smear([IMAGE] * 3).fields_counted == 3
            assert len(client.classify_cells([IMAGE] * 3)) == 3
            assert client.explain_cell(IMAGE).explanation.heat.shape == (2, 3)
        client.close()
        with pytest.raises(RuntimeError, match="closed"):
            client.list_models()

    async with served(FakeGateway()) as address:
        await asyncio.to_thread(use, address)
    assert not [thread for thread in threading.enumerate() if thread.name == "hemaserve-client"]


async def test_site_profiles_are_listed_and_named_for_located_cells():
    gateway = FakeGateway()
    async with served(gateway) as address, Client(address) as client:
        (profile,) = await client.list_site_profiles()
        await client.classify_cells([IMAGE], site_profile="a-lab")
        await client.classify_cells([IMAGE])
    assert as_json(profile) == {
        "name": "a-lab",
        "sha256": "e" * 64,
        "fields": 12,
        "white_cells": 34,
        "created_at": "2026-11-21T09:00:00+00:00",
    }
    assert gateway.site_profiles == ["a-lab", ""]


def test_the_provenance_tells_the_site_profile_where_there_is_one():
    message = gateway_pb2.FieldResult()
    assert translate.field_result(message).provenance.site_profile is None
    message.provenance.site_profile.name = "a-lab"
    assert translate.field_result(message).provenance.site_profile == SiteProfileSource("a-lab", "")


def test_values_from_a_newer_service_are_never_an_error():
    message = gateway_pb2.FieldResult(status=99)
    cell = message.cells.add()
    cell.detection.kind = 99
    cell.classification.identified = True
    cell.classification.type = 99
    cell.classification.primary_type = 99
    cell.classification.leaf_probabilities.add(type=99, probability=1)
    result = translate.field_result(message, gateway_pb2.Differential(review_reasons=[99]))
    (seen,) = result.cells
    assert not seen.identified
    assert seen.kind is None
    assert result.status == "other"
    assert result.differential is not None
    assert result.differential.review_reasons == ("other",)


def test_percentages_that_are_absent_stay_absent():
    share = gateway_pb2.TypeShare(type=cells_pb2.CELL_TYPE_NEUTROPHIL, percent=0.0)
    (seen,) = translate.differential(gateway_pb2.Differential(leukocytes=[share])).leukocytes
    assert seen.percent == 0.0
    assert seen.percent_low is None


def test_results_become_plain_json():
    message = gateway_pb2.FieldResult(field_id="f")
    message.cells.add().detection.cell_id = "c"
    document = as_json(translate.field_result(message))
    assert isinstance(document, dict)
    assert document["cells"][0]["cell_id"] == "c"
    assert "crop" not in document["cells"][0]
