"""Two Tritons of one repository, behind one client: real ones, of which one is stopped or lacks a network."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest

from hemaserve.errors import DeadlineExceeded, NotFound, Unavailable
from services.triton.client import CHECK_TIMEOUT_S, TritonClient
from services.triton.loading import LoadPolicy

X = {"x": np.zeros((1, 4), np.float32)}


@pytest.fixture
def two(repository, start_triton):
    """`async with two(models) as (tritons, client)`."""

    @asynccontextmanager
    async def start(*models: str, loads: LoadPolicy = LoadPolicy()) -> AsyncIterator:
        async with (
            start_triton(repository, models=models) as first,
            start_triton(repository, models=models) as second,
            TritonClient(f"{first.grpc_address},{second.grpc_address}", loads) as client,
        ):
            yield (first, second), client

    return start


async def test_inferences_go_on_while_one_of_two_stops(two) -> None:
    async with two("one") as (tritons, client):
        over = asyncio.Event()

        async def ask() -> int:
            answered = 0
            while not over.is_set():
                answer = await client.infer("one", X, ["y"], timeout_s=20)
                np.testing.assert_array_equal(answer["y"], [[1, 1, 1, 1]])
                answered += 1
            return answered

        asking = [asyncio.create_task(ask()) for _ in range(4)]
        await asyncio.to_thread(tritons[0].stop)
        assert await client.ready("one")
        assert await client.models() == ["one"]
        over.set()
        assert all(await asyncio.gather(*asking))


async def test_what_a_model_is_can_be_learnt_while_one_of_two_is_frozen(two, frozen) -> None:
    async with two("one") as (tritons, client):
        with frozen(tritons[0]):
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                for _ in range(4):  # in turns of one and the other, were they asked in turns
                    assert (await client.model_config("one")).name == "one"
            with pytest.raises(NotFound):
                await client.model_config("rose", timeout_s=0.5)


async def test_a_frozen_triton_is_away_and_no_deadline_has_passed(repository, start_triton, frozen) -> None:
    async with (
        start_triton(repository, models=("one",)) as triton,
        TritonClient(triton.grpc_address) as client,
    ):
        with frozen(triton):
            with pytest.raises(Unavailable):
                await client.model_config("one", timeout_s=0.2)
            with pytest.raises(DeadlineExceeded):
                await client.infer("one", X, ["y"], timeout_s=0.2)


async def test_a_model_that_is_asked_for_is_loaded_on_both(two) -> None:
    async with two("one") as (tritons, client):
        assert await client.load("three")
        for triton in tritons:
            async with TritonClient(triton.grpc_address) as one:
                assert await one.ready("three")


async def test_a_model_that_one_of_two_does_not_have_is_answered_by_the_other(two) -> None:
    async with two("one", loads=LoadPolicy(on_request=False)) as (tritons, client):
        async with TritonClient(tritons[1].grpc_address) as one:
            assert await one.load("three")
        for _ in range(4):
            assert (await client.infer("three", X, ["y"], timeout_s=20))["y"][0, 0] == 3
        with pytest.raises(NotFound):
            await client.infer("rose", X, ["y"], timeout_s=20)
