"""gRPC does with several replicas what it is told: over real servers of which one is sick."""

import contextlib
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest

from hemaserve import balancing
from hemaserve.addresses import target

MAX_BYTES = 8 * 2**20


class Replica:
    """Answers with what it was asked, or does not."""

    def __init__(self) -> None:
        self.calls = 0
        self.sick = False
        self.address = ""

    async def echo(self, request, context):
        self.calls += 1
        if self.sick:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "sick")
        return request


@contextlib.asynccontextmanager
async def replicas(count: int) -> AsyncIterator[list[Replica]]:
    async with contextlib.AsyncExitStack() as opened:
        made = [Replica() for _ in range(count)]
        for replica in made:
            server = grpc.aio.server(options=[("grpc.max_receive_message_length", MAX_BYTES)])
            handler = grpc.unary_unary_rpc_method_handler(replica.echo)
            server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler("test", {"Echo": handler}),)
            )
            replica.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
            await server.start()
            opened.push_async_callback(server.stop, None)
        yield made


@contextlib.asynccontextmanager
async def caller(made, repeatable=({},)):
    address = ",".join(replica.address for replica in made)
    options = balancing.options(address, repeatable=repeatable, max_message_bytes=MAX_BYTES)
    async with grpc.aio.insecure_channel(target(address), options=options) as channel:
        call = channel.unary_unary("/test/Echo")
        while not all(replica.calls for replica in made):  # until it is connected with each
            await call(b"", wait_for_ready=True)
        for replica in made:
            replica.calls = 0
        yield call


async def test_calls_are_spread_over_the_replicas():
    async with replicas(3) as made, caller(made) as call:
        for _ in range(30):
            await call(b"")
    assert [replica.calls for replica in made] == [10, 10, 10]


@pytest.mark.parametrize("size", [1, 4 * 2**20])
async def test_a_call_that_meets_a_sick_replica_is_repeated_whatever_its_size(size):
    async with replicas(2) as made, caller(made) as call:
        made[0].sick = True
        for _ in range(4):
            assert len(await call(b"x" * size)) == size
    assert made[0].calls > 0
    assert made[1].calls == 4


async def test_a_call_that_cannot_be_repeated_is_not():
    async with replicas(2) as made, caller(made, repeatable=()) as call:
        made[0].sick = made[1].sick = True
        with pytest.raises(grpc.aio.AioRpcError):
            await call(b"")
    assert made[0].calls + made[1].calls == 1


async def test_a_sick_replica_is_left_out_after_a_while():
    async with replicas(2) as made, caller(made) as call:
        made[0].sick = True
        for _ in range(500):
            before = made[0].calls
            for _ in range(4):
                await call(b"")
            if made[0].calls == before:  # four calls in turn, and none came to it
                break
        else:
            pytest.fail("it was never left out")


async def test_the_only_replica_is_asked_however_sick_it_is():
    async with replicas(1) as made, caller(made, repeatable=()) as call:
        made[0].sick = True
        refused = 0
        for _ in range(20):
            with pytest.raises(grpc.aio.AioRpcError):
                await call(b"")
            refused += 1
        assert made[0].calls == refused
        made[0].sick = False
        assert await call(b"x") == b"x"


async def test_when_all_are_sick_the_budget_ends_repetitions():
    async with replicas(2) as made, caller(made) as call:
        made[0].sick = made[1].sick = True
        for _ in range(12):
            with pytest.raises(grpc.aio.AioRpcError):
                await call(b"")
        spent = made[0].calls + made[1].calls
        for _ in range(5):
            with pytest.raises(grpc.aio.AioRpcError):
                await call(b"")
        assert made[0].calls + made[1].calls == spent + 5
