"""A smear's stream may break anywhere: no field is lost, none is counted twice."""

import asyncio

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hemaserve.client import (
    Backoff,
    Client,
    DeadlineExceededError,
    Field,
    HemaServeError,
    InvalidArgumentError,
    UnavailableError,
)

from .fake_gateway import BAD_IMAGE, Break, FakeGateway, served

QUICK = Backoff(attempts=3, initial_s=0.001, max_s=0.002)
IMAGE = b"an image"

breaks = st.lists(
    st.builds(
        Break,
        answered=st.integers(1, 7),
        unanswered=st.integers(0, 4),
        code=st.sampled_from([grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, None]),
    ),
    max_size=5,
)


@given(number=st.integers(0, 12), breaks=breaks, window=st.integers(1, 5))
@settings(max_examples=40, deadline=None)
async def test_every_field_is_counted_once_wherever_streams_break(number, breaks, window):
    gateway = FakeGateway([_within(item, number, window) for item in breaks])
    heard: list[str] = []
    # More attempts than breaks: some streams break before anything is answered.
    patient = Backoff(attempts=6, initial_s=0.001, max_s=0.002)
    async with served(gateway) as address, Client(address, backoff=patient, window=window) as client:
        result = await client.analyze_smear(
            [IMAGE] * number, smear_id="s", on_result=lambda item: heard.append(item.field_id)
        )
    ids = [str(index + 1) for index in range(number)]
    last = gateway.streams[-1]
    counted = [tally.field_id for tally in last.opening.received] + [item.field_id for item in last.fields]
    assert sorted(counted, key=int) == ids
    assert result.fields_counted == number
    assert [item.field_id for item in result.fields] == ids
    assert sorted(heard, key=int) == ids
    for stream in gateway.streams:
        assert all(int(item.field_id) == item.sequence + 1 for item in stream.fields)
        received = {tally.field_id for tally in stream.opening.received}
        assert received.isdisjoint(item.field_id for item in stream.fields)


def _within(item: Break, number: int, window: int) -> Break:
    # The client sends at most `window` fields ahead: a break that waits for more would wait for ever.
    return Break(item.answered, min(item.unanswered, window), item.code)


async def test_a_new_stream_repeats_the_opening_and_hands_back_the_tallies():
    gateway = FakeGateway([Break(answered=2, unanswered=1)])
    async with served(gateway) as address, Client(address, backoff=QUICK) as client:
        await client.analyze_smear([IMAGE] * 4, smear_id="s1", specimen="A-1", target=100, model="vit")
    first, second = (stream.opening for stream in gateway.streams)
    assert (second.smear_id, second.specimen, second.target) == ("s1", "A-1", 100)
    assert second.options == first.options
    assert not first.received
    assert [tally.field_id for tally in second.received] == ["1", "2"]


async def test_gives_up_after_so_many_breaks_without_progress():
    gateway = FakeGateway([Break(0)] * 10)
    async with served(gateway) as address, Client(address, backoff=QUICK) as client:
        with pytest.raises(UnavailableError):
            await client.analyze_smear([IMAGE])
    assert len(gateway.streams) == 1 + QUICK.attempts


async def test_progress_starts_the_counting_of_attempts_anew():
    gateway = FakeGateway([Break(1)] * 10)
    async with served(gateway) as address, Client(address, backoff=QUICK) as client:
        result = await client.analyze_smear([IMAGE] * 11)
    assert result.fields_counted == 11


async def test_a_refusal_is_not_repeated():
    gateway = FakeGateway([Break(0, code=grpc.StatusCode.INVALID_ARGUMENT)] * 2)
    async with served(gateway) as address, Client(address, backoff=QUICK) as client:
        with pytest.raises(InvalidArgumentError):
            await client.analyze_smear([IMAGE])
    assert len(gateway.streams) == 1


async def test_ends_when_the_gateway_has_enough_and_reads_no_further():
    read: list[int] = []

    async def fields():
        for index in range(1000):
            read.append(index)
            yield IMAGE

    gateway = FakeGateway(stop_after=5)
    async with served(gateway) as address, Client(address, window=2) as client:
        result = await client.analyze_smear(fields())
    assert result.fields_counted == 5
    assert len(read) <= 5 + 2 + 3


async def test_a_field_that_fails_is_a_result_with_an_error():
    async with served(FakeGateway()) as address, Client(address) as client:
        result = await client.analyze_smear([IMAGE, BAD_IMAGE, IMAGE])
    bad = result.fields[1]
    assert bad.error is not None
    assert (bad.error.code, bad.error.reason) == ("INVALID_ARGUMENT", "IMAGE_DAMAGED")
    assert bad.error.violations[0].field == "field.image"
    assert [item.error for item in (result.fields[0], result.fields[2])] == [None, None]


async def test_two_fields_with_one_id_are_refused():
    async with served(FakeGateway()) as address, Client(address) as client:
        with pytest.raises(ValueError, match="comes twice"):
            await client.analyze_smear([Field(IMAGE, "a"), Field(IMAGE, "a")])


async def test_an_unreadable_file_ends_the_smear(tmp_path):
    async with served(FakeGateway()) as address, Client(address) as client:
        with pytest.raises(FileNotFoundError):
            await client.analyze_smear([IMAGE, tmp_path / "absent.png"])


async def test_an_error_of_the_listener_reaches_the_caller():
    def complain(_: object) -> None:
        raise RuntimeError("no")

    async with served(FakeGateway()) as address, Client(address) as client:
        with pytest.raises(RuntimeError, match="no"):
            await client.analyze_smear([IMAGE], on_result=complain)


async def test_a_deadline_ends_a_smear_whose_source_dawdles():
    async def fields():
        yield IMAGE
        await asyncio.Event().wait()

    async with served(FakeGateway()) as address, Client(address) as client:
        with pytest.raises(DeadlineExceededError):
            await client.analyze_smear(fields(), timeout_s=0.3)


async def test_cancelling_leaves_no_task_behind():
    async def fields():
        yield IMAGE
        await asyncio.Event().wait()

    heard = asyncio.Event()
    async with served(FakeGateway()) as address, Client(address) as client:
        before = asyncio.all_tasks()
        smear = asyncio.create_task(client.analyze_smear(fields(), on_result=lambda _: heard.set()))
        await heard.wait()
        smear.cancel()
        with pytest.raises(asyncio.CancelledError):
            await smear
        ours = [task for task in asyncio.all_tasks() - before if "hemaserve/client" in repr(task)]
        assert not ours


async def test_a_gateway_that_comes_back_at_the_same_address_is_found_again():
    gateway = FakeGateway()
    first_answer = asyncio.Event()
    back = asyncio.Event()

    async def fields():
        yield IMAGE
        await back.wait()
        yield IMAGE

    async with Client("127.0.0.1:1", backoff=Backoff(attempts=20, initial_s=0.01, max_s=0.1)) as client:
        async with served(gateway) as address:
            client.address = address
            smear = asyncio.create_task(
                client.analyze_smear(fields(), on_result=lambda _: first_answer.set())
            )
            await first_answer.wait()
        again = grpc.aio.server()
        from hemaserve.v1 import gateway_pb2_grpc

        gateway_pb2_grpc.add_SmearServiceServicer_to_server(gateway, again)
        again.add_insecure_port(address)
        await again.start()
        back.set()
        try:
            result = await smear
        finally:
            await again.stop(None)
    assert result.fields_counted == 2
    assert isinstance(smear.exception(), HemaServeError | None)
