"""An answer about something else than what was asked is none: it is asked for again, and never passed on."""

import hashlib

import pytest

from hemaserve.client import Backoff, Client, LocatedCell, UnavailableError
from hemaserve.client.integrity import OTHER_ANSWER

from .fake_gateway import FakeGateway, served

QUICK = Backoff(attempts=3, initial_s=0.001, max_s=0.002)
IMAGES = [b"one", b"two", b"three"]


class Mistaken(FakeGateway):
    """Answers some times about another image, or about other cells."""

    def __init__(self, mistakes):
        super().__init__()
        self.mistakes = mistakes

    def mistake(self):
        self.mistakes -= 1
        return self.mistakes >= 0

    async def AnalyzeField(self, request, context):
        response = await super().AnalyzeField(request, context)
        if self.mistake():
            response.result.image_sha256 = hashlib.sha256(b"another").hexdigest()
        return response

    async def AnalyzeSmear(self, request_iterator, context):
        async for response in super().AnalyzeSmear(request_iterator, context):
            if response.HasField("field_result") and self.mistake():
                response.field_result.image_sha256 = hashlib.sha256(b"another").hexdigest()
            yield response

    async def ClassifyCells(self, request_iterator, context):
        async for response in super().ClassifyCells(request_iterator, context):
            if self.mistake():
                response.cells.reverse()
            yield response


async def test_a_field_answered_for_another_image_is_sent_again_and_counted_once():
    gateway = Mistaken(1)
    heard = []
    async with served(gateway) as address, Client(address, backoff=QUICK) as client:
        result = await client.analyze_smear(IMAGES, on_result=lambda field: heard.append(field.field_id))
    assert sorted(heard) == ["1", "2", "3"]
    assert result.fields_counted == 3
    assert len(gateway.streams) == 2


async def test_a_gateway_that_is_always_mistaken_is_given_up():
    async with served(Mistaken(10**6)) as address, Client(address, backoff=QUICK) as client:
        with pytest.raises(UnavailableError) as error:
            await client.analyze_smear(IMAGES)
    assert error.value.reason == OTHER_ANSWER


async def test_a_single_field_answered_for_another_image_is_an_error():
    async with served(Mistaken(1)) as address, Client(address) as client:
        with pytest.raises(UnavailableError) as error:
            await client.analyze_field(IMAGES[0])
        assert error.value.reason == OTHER_ANSWER
        assert (await client.analyze_field(IMAGES[0])).image_sha256 == hashlib.sha256(IMAGES[0]).hexdigest()


async def test_cells_answered_as_others_are_asked_for_again():
    cells = [LocatedCell(b"image", cell_id) for cell_id in "abc"]
    async with served(Mistaken(1)) as address, Client(address, backoff=QUICK) as client:
        named = await client.classify_cells(cells)
    assert [cell.cell_id for cell in named] == ["a", "b", "c"]
