"""A link passes on what is said until it is told to do harm."""

import asyncio
from contextlib import asynccontextmanager

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.links import Frames, Link


def frame(body):
    return len(body).to_bytes(3, "big") + b"\x00\x00\x00\x00\x00\x01" + body


bodies = st.lists(st.binary(max_size=40), min_size=1, max_size=6)
cuts = st.lists(st.integers(1, 20), min_size=1, max_size=30)


def pieces(data, sizes):
    start = 0
    for size in [*sizes, len(data)]:
        if start < len(data):
            yield data[start : start + size]
            start += size


@given(bodies=bodies, cuts=cuts)
def test_frames_pass_unchanged_however_they_come_in_pieces(bodies, cuts):
    data = b"".join(map(frame, bodies))
    frames = Frames()
    assert b"".join(frames.pass_on(piece, garble=False)[0] for piece in pieces(data, cuts)) == data


@given(bodies=bodies, cuts=cuts)
def test_only_the_length_of_one_frame_is_garbled(bodies, cuts):
    data = b"".join(map(frame, bodies))
    frames, due, passed = Frames(), True, b""
    for piece in pieces(data, cuts):
        said, garbled = frames.pass_on(piece, garble=due)
        passed, due = passed + said, due and not garbled
    starts = [sum(9 + len(body) for body in bodies[:number]) for number in range(len(bodies))]
    changed = [place for place, pair in enumerate(zip(data, passed, strict=True)) if pair[0] != pair[1]]
    assert len(passed) == len(data)
    assert not due or not changed
    if changed:
        assert any(set(changed) <= {start, start + 1, start + 2} for start in starts)


@asynccontextmanager
async def health_behind_a_link():
    server = grpc.aio.server()
    servicer = health.aio.HealthServicer()
    await servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    link = Link("test", f"127.0.0.1:{port}")
    await link.start()
    options = [
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.min_reconnect_backoff_ms", 50),
        ("grpc.enable_retries", 0),
    ]
    async with grpc.aio.insecure_channel(link.address, options=options) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        yield link, lambda **more: check(health_pb2.HealthCheckRequest(), timeout=20, **more)
    await link.close()
    await server.stop(None)


@pytest.mark.parametrize(
    "harm", [lambda link: link.cut(0.2), lambda link: link.garble()], ids=["cut", "garbled"]
)
async def test_a_harmed_connection_breaks_and_the_next_one_is_sound(harm):
    async with health_behind_a_link() as (link, check):
        await check()
        harm(link)
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await check()
        assert error.value.code() in (
            grpc.StatusCode.UNAVAILABLE,
            grpc.StatusCode.UNKNOWN,
            grpc.StatusCode.INTERNAL,
        )
        async with asyncio.timeout(20):
            while True:
                try:
                    await check(wait_for_ready=True)
                    break
                except grpc.aio.AioRpcError:
                    continue


async def test_a_slow_link_is_slow():
    async with health_behind_a_link() as (link, check):
        await check()
        link.delay_s = 0.3
        began = asyncio.get_running_loop().time()
        await check()
        assert asyncio.get_running_loop().time() - began > 0.3


async def test_a_closed_connection_is_closed_on_the_other_side_too():
    async with health_behind_a_link() as (link, check):
        await check()
        assert link.connections == 2
    async with asyncio.timeout(5):
        while link.connections:  # noqa: ASYNC110 - it is sockets that change
            await asyncio.sleep(0.01)
