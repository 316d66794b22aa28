"""The leukemia screen, as the client hands it back."""

import pytest

from hemaserve.client import Client, HemaServeError
from hemaserve.results import ModelTask, ReviewReason, ScreenFinding, SmearScreen, as_json
from hemaserve.v1 import cells_pb2, gateway_pb2

from .fake_gateway import Break, FakeGateway, served


def finding(probability):
    classes = [
        {"class": "benign", "probability": 1 - probability},
        {"class": "blast-like", "probability": probability},
    ]
    return cells_pb2.ScreenFinding(
        flagged=probability >= 0.5,
        probability=probability,
        classes=[cells_pb2.ScreenProbability(**one) for one in classes],
    )


class ScreeningGateway(FakeGateway):
    """Flags every field, and every cell that it finds."""

    async def AnalyzeField(self, request, context):
        answer = await super().AnalyzeField(request, context)
        if request.options.screen:
            answer.result.screen.CopyFrom(finding(0.75))
            answer.result.cells[0].screen.CopyFrom(finding(0.25))
            answer.result.provenance.screens.add(name="leukemia_field", version="1", sha256="a" * 64)
            answer.differential.review_reasons.append(gateway_pb2.REVIEW_REASON_SCREEN_FLAGGED)
        return answer

    async def AnalyzeSmear(self, request_iterator, context):
        async for response in super().AnalyzeSmear(request_iterator, context):
            asked_for = self.streams[-1].opening.options.screen
            if response.HasField("field_result") and asked_for:
                response.field_result.tally.screen.cells_screened = 7
            if response.HasField("smear_result") and asked_for:
                response.smear_result.screen.fields_screened = 2
                response.smear_result.screen.flagged_field_ids.append("1")
            yield response

    async def ListModels(self, request, context):
        model = cells_pb2.Model(name="leukemia_cell", task=cells_pb2.MODEL_TASK_SCREEN_CELL)
        model.screen_classes.extend(["benign", "blast-like"])
        return gateway_pb2.ListModelsResponse(models=[model])


async def test_findings_of_field_and_cells_come_as_plain_values():
    async with served(ScreeningGateway()) as address, Client(address) as client:
        result = await client.analyze_field(b"image", screen=True)
    assert result.screen == ScreenFinding(
        flagged=True, probability=0.75, classes={"benign": 0.25, "blast-like": 0.75}
    )
    assert [cell.flagged for cell in result.cells] == [False]
    assert [source.name for source in result.provenance.screens] == ["leukemia_field"]
    assert result.differential.review_reasons == (ReviewReason.SCREEN_FLAGGED,)
    assert as_json(result.screen) == {
        "flagged": True,
        "probability": 0.75,
        "classes": {"benign": 0.25, "blast-like": 0.75},
    }


async def test_without_being_asked_for_there_is_no_finding():
    async with served(ScreeningGateway()) as address, Client(address) as client:
        result = await client.analyze_field(b"image")
        smear = await client.analyze_smear([b"image"])
    assert result.screen is None
    assert smear.screen is None


async def test_a_smear_has_its_screen_and_a_resumed_one_hands_its_tallies_back():
    gateway = ScreeningGateway([Break(answered=1)])
    async with served(gateway) as address, Client(address) as client:
        smear = await client.analyze_smear([b"one", b"two"], screen=True)
    assert smear.screen == SmearScreen(2, 0, 0, 0, ("1",))
    assert [stream.opening.options.screen for stream in gateway.streams] == [True, True]
    assert [tally.screen.cells_screened for tally in gateway.streams[1].opening.received] == [7]


async def test_a_service_that_ignores_the_wish_for_a_screen_is_an_error_and_not_an_unflagged_result():
    async with served(FakeGateway()) as address, Client(address) as client:
        with pytest.raises(HemaServeError) as error:
            await client.analyze_field(b"image", screen=True)
        assert error.value.reason == "SCREEN_UNKNOWN"
        with pytest.raises(HemaServeError) as error:
            await client.analyze_smear([b"image"], screen=True)
        assert error.value.reason == "SCREEN_UNKNOWN"


async def test_screening_networks_are_listed_with_task_and_classes():
    async with served(ScreeningGateway()) as address, Client(address) as client:
        (model,) = await client.list_models()
    assert (model.task, model.screen_classes) == (ModelTask.SCREEN_CELL, ("benign", "blast-like"))
