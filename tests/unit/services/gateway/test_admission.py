"""What the gateway lets in, of all calls and streams together."""

import asyncio

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from hemaserve.metadata import PRIORITY_KEY
from hemaserve.v1 import gateway_pb2

SEGMENTED = 9
STAT, BATCH = gateway_pb2.PRIORITY_STAT, gateway_pb2.PRIORITY_BATCH


def analyze(world, name, **parts):
    request = gateway_pb2.AnalyzeFieldRequest(field=world.field(name, [SEGMENTED]), **parts)
    return asyncio.ensure_future(world.stub.AnalyzeField(request, timeout=20))


def details(error):
    (value,) = [value for key, value in error.trailing_metadata() if key == "grpc-status-details-bin"]
    found = {}
    for detail in status_pb2.Status.FromString(value).details:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo):
            message = kind()
            if detail.Unpack(message):
                found[kind.__name__] = message
    return found


async def test_beyond_those_at_work_and_those_waiting_a_call_is_refused_and_told_when_to_return(
    make_world, wait_until
):
    world = await make_world(fields_at_once=1, fields_waiting=1)
    go = world.detector.hold("first")
    first = analyze(world, "first")
    await wait_until(lambda: "first" in world.detector.at_work)
    waits = analyze(world, "waits")
    await wait_until(lambda: world.application.fields.waiting == 1)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await analyze(world, "too many")
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    told = details(refused.value)
    assert told["ErrorInfo"].reason == "QUEUE_FULL"
    assert told["RetryInfo"].retry_delay.ToMilliseconds() > 0
    go.set()
    await asyncio.gather(first, waits)
    assert not world.detector.seen("too many")


def begin(world, priority):
    """A call whose message has not been sent."""
    method = "/hemaserve.v1.SmearService/AnalyzeField"
    call = world.channel.stream_unary(
        method,
        request_serializer=gateway_pb2.AnalyzeFieldRequest.SerializeToString,
        response_deserializer=gateway_pb2.AnalyzeFieldResponse.FromString,
    )
    return call(timeout=20, metadata=((PRIORITY_KEY, priority),))


async def test_a_call_that_tells_its_priority_is_refused_before_its_message_is_sent(make_world, wait_until):
    world = await make_world(fields_at_once=1, fields_waiting=1)
    go = world.detector.hold("first")
    first = analyze(world, "first")
    await wait_until(lambda: "first" in world.detector.at_work)
    waits = analyze(world, "waits", priority=BATCH)
    await wait_until(lambda: world.application.fields.waiting == 1)
    refused = begin(world, "batch")
    assert await refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    # For a more urgent one there is room; but its message says what it is.
    pretends = begin(world, "stat")
    await pretends.write(gateway_pb2.AnalyzeFieldRequest(field=world.field("x", [SEGMENTED]), priority=BATCH))
    await pretends.done_writing()
    assert await pretends.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    go.set()
    await asyncio.gather(first, waits)
    late = begin(world, "batch")
    await late.write(gateway_pb2.AnalyzeFieldRequest(field=world.field("late", [SEGMENTED])))
    await late.done_writing()
    assert (await late).result.field_id == "late"


async def test_a_call_that_tells_its_priority_and_sends_no_message_is_refused(make_world):
    world = await make_world()
    call = begin(world, "routine")
    await call.done_writing()
    assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_stat_gets_in_while_batch_work_fills_everything(make_world, wait_until):
    world = await make_world(fields_at_once=1, fields_waiting=2)
    go = world.detector.hold("0")
    floods = [analyze(world, f"{number}", priority=BATCH) for number in range(5)]
    await wait_until(lambda: world.application.fields.waiting == 2)
    assert (await analyze(world, "stat", priority=STAT)).result.field_id
    go.set()
    await asyncio.gather(*floods, return_exceptions=True)


async def test_fields_of_all_smears_together_are_bounded_and_streams_wait_rather_than_fail(
    make_world, wait_until
):
    world = await make_world(fields_at_once=2, fields_waiting=0)
    world.detector.jitter_s = 0.005
    smears = [
        world.smear(
            [world.field(f"{smear}-{n}", [SEGMENTED], sequence=n) for n in range(6)], smear_id=f"{smear}"
        )
        for smear in range(5)
    ]
    done = await asyncio.gather(*smears)
    assert [len(results) for results, _ in done] == [6] * 5
    assert world.detector.most_at_once <= 2


async def test_beyond_the_streams_that_may_be_open_only_stat_is_let_in(make_world, wait_until):
    world = await make_world(streams_at_once=2)
    calls = []

    async def open_smear(priority):
        call = world.stub.AnalyzeSmear(timeout=20)
        calls.append(call)
        await call.write(world.opening(smear_id=f"{len(calls)}", priority=priority))
        return call

    for _ in range(2):
        await open_smear(BATCH)
    await wait_until(lambda: world.application.streams.held == 2)
    refused = await open_smear(BATCH)
    assert await refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    stat = await open_smear(STAT)
    await stat.done_writing()
    assert (await stat.read()).HasField("smear_result")
    for call in calls:
        call.cancel()


async def test_a_stream_on_which_nothing_comes_ends(make_world):
    world = await make_world(stream_idle_s=0.05)
    call = world.stub.AnalyzeSmear(timeout=20)
    await call.write(world.opening())
    assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "nothing came" in await call.details()


async def test_a_stream_without_a_deadline_gets_one(make_world):
    world = await make_world(stream_timeout_s=0.2)
    world.detector.hold("f")
    call = world.stub.AnalyzeSmear()
    await call.write(world.opening())
    await call.write(gateway_pb2.AnalyzeSmearRequest(field=world.field("f", [SEGMENTED])))
    code = await call.code()
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED
