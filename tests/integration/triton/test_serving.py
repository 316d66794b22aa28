"""The real Triton with our backend, seen through our client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest

from hemaserve.errors import DeadlineExceeded, Internal, NotFound, ResourceExhausted, Unavailable
from services.triton.client import TritonClient
from services.triton.descriptions import ModelDescription, TensorDescription
from services.triton.embedded import EmbeddedTriton
from services.triton.verify import file_digest


@pytest.fixture
async def client(triton: EmbeddedTriton) -> AsyncIterator[TritonClient]:
    async with TritonClient(triton.grpc_address) as client:
        yield client


async def test_every_caller_gets_its_own_rows_from_a_joint_batch(client, triton, metric) -> None:
    async def ask(tag: int) -> None:
        rows = 1 + tag % 3
        pixels = np.full((rows, 2, 2), tag % 256, np.uint8)
        tags = (tag * 10 + np.arange(rows, dtype=np.float32))[:, None]
        answer = await client.infer("tagged", {"pixels": pixels, "tag": tags}, ["pixels_out", "tag_out"])
        np.testing.assert_array_equal(answer["tag_out"], tags)
        np.testing.assert_array_equal(answer["pixels_out"], pixels.astype(np.float32))

    before = metric(triton, "nv_inference_exec_count", model="tagged")
    await asyncio.gather(*(ask(tag) for tag in range(200)))
    executions = metric(triton, "nv_inference_exec_count", model="tagged") - before
    assert 0 < executions < 200, "no two requests were ever joined, so this showed nothing"


@pytest.mark.parametrize("name", ["compute_infer", "queue"])
async def test_triton_tells_the_times_that_it_is_scaled_by(client, triton, metric, name) -> None:
    before = metric(triton, f"nv_inference_{name}_duration_us", model="tagged")
    inputs = {"pixels": np.zeros((1, 2, 2), np.uint8), "tag": np.ones((1, 1), np.float32)}
    await asyncio.gather(*(client.infer("tagged", inputs, ["tag_out"]) for _ in range(20)))
    assert metric(triton, f"nv_inference_{name}_duration_us", model="tagged") > before


async def test_only_the_outputs_that_were_asked_for_are_answered(client) -> None:
    inputs = {"pixels": np.zeros((1, 2, 2), np.uint8), "tag": np.ones((1, 1), np.float32)}
    assert list(await client.infer("tagged", inputs, ["tag_out"])) == ["tag_out"]


async def test_a_bad_request_in_a_batch_fails_alone(client, triton, metric) -> None:
    async def ask(tag: int, width: int) -> np.ndarray:
        return (await client.infer("picky", {"x": np.full((1, width), tag, np.float32)}, ["y"]))["y"]

    # 5 values make no rows of 3; 6 make two rows, of which one would be another caller's.
    widths = [3, 3, 5, 3, 3, 3, 6, 3]
    before = metric(triton, "nv_inference_exec_count", model="picky")
    answers = await asyncio.gather(*(ask(*each) for each in enumerate(widths)), return_exceptions=True)
    for tag, (width, answer) in enumerate(zip(widths, answers, strict=True)):
        if width == 3:
            np.testing.assert_array_equal(answer, [[tag, tag, tag]])
        else:
            assert isinstance(answer, Internal)
    assert metric(triton, "nv_inference_exec_count", model="picky") - before < len(widths)


async def test_a_model_without_batching_takes_what_the_network_takes(client) -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.testing.assert_array_equal((await client.infer("unbatched", {"x": x}, ["y"]))["y"], x + 1)


async def test_an_ensemble_returns_its_vote_and_what_its_members_said(client) -> None:
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    answer = await client.infer("ensemble", {"x": x}, ["mean", "one_y", "three_y"])
    np.testing.assert_array_equal(answer["one_y"], x + 1)
    np.testing.assert_array_equal(answer["three_y"], x + 3)
    np.testing.assert_array_equal(answer["mean"], x + 2)


async def test_broken_models_do_not_keep_the_others_from_serving(client) -> None:
    assert await client.server_ready()
    assert await client.ready("tagged")
    assert not await client.ready("mismatched")
    assert not await client.ready("no such model")
    names = await client.models()
    assert {"tagged", "ensemble", "vote"} <= set(names)
    assert not {"mismatched", "empty"} & set(names)
    reasons = {state.name: state.reason for state in await client.model_states()}
    assert "input 'x' is TYPE_FP16, the ONNX file has TYPE_FP32" in reasons["mismatched"]
    assert "input 'x' has dims [-1, 5], the ONNX file has [-1, 4]" in reasons["mismatched"]
    assert "no ONNX file 'model.onnx' in version 1 of model 'empty'" in reasons["empty"]


async def test_a_network_whose_file_was_changed_is_not_loaded_and_the_others_serve(
    client, repository
) -> None:
    x = np.zeros((1, 4), np.float32)
    assert await client.ready("sealed")
    np.testing.assert_array_equal((await client.infer("sealed", {"x": x}, ["y"]))["y"], x + 1)

    assert not await client.ready("tampered")
    (reason,) = [state.reason for state in await client.model_states() if state.name == "tampered"]
    assert "file 'model.onnx' of model 'tampered' is not the one that its configuration names" in reason
    assert f"found {file_digest(repository / 'tampered' / '1' / 'model.onnx')}" in reason


async def test_a_description_tells_what_the_configuration_says(client) -> None:
    assert await client.model_config("tagged") == ModelDescription(
        name="tagged",
        version="1",
        versions=("1",),
        platform="onnxruntime_onnx",
        backend="onnxruntime",
        max_batch_size=8,
        inputs=(TensorDescription("pixels", "UINT8", (2, 2)), TensorDescription("tag", "FP32", (1,))),
        outputs=(TensorDescription("pixels_out", "FP32", (2, 2)), TensorDescription("tag_out", "FP32", (1,))),
        parameters={"labels": "a,b"},
    )
    assert (await client.model_config("ensemble")).platform == "ensemble"


async def test_errors_are_the_domains_and_keep_tritons_words_to_themselves(client) -> None:
    x = {"x": np.zeros((1, 4), np.float32)}
    with pytest.raises(NotFound) as caught:
        await client.infer("no such model", x, ["y"])
    assert "no such model" not in caught.value.message
    with pytest.raises(NotFound):
        await client.model_config("no such model")
    with pytest.raises(Internal, match=r"^a network failed$"):
        await client.infer("one", {"x": np.zeros((1, 9), np.float32)}, ["y"])
    with pytest.raises(Internal, match=r"^a network failed$"):
        await client.infer("one", {"x": np.zeros((9, 4), np.float32)}, ["y"])
    with pytest.raises(DeadlineExceeded):
        await client.infer("one", x, ["y"], timeout_s=0.0)
    with pytest.raises(DeadlineExceeded):
        await client.infer("one", x, ["y"], timeout_s=1e-6)
    async with TritonClient("127.0.0.1:1") as nobody:
        assert not await nobody.server_ready()
        assert not await nobody.ready("one")
        with pytest.raises(Unavailable):
            await nobody.infer("one", x, ["y"])


async def test_a_full_queue_refuses_and_still_serves_what_it_took(client) -> None:
    x = {"x": np.ones((1, 512, 512), np.float32)}
    answers = await asyncio.gather(
        *(client.infer("busy", x, ["y"]) for _ in range(24)), return_exceptions=True
    )
    served = [answer for answer in answers if isinstance(answer, dict)]
    refused = [answer for answer in answers if isinstance(answer, ResourceExhausted)]
    assert len(served) + len(refused) == 24
    assert served
    assert refused
    np.testing.assert_array_equal(served[0]["y"], x["x"])


async def test_a_cancelled_task_cancels_its_request_in_triton(
    client, triton, metric, pending_requests
) -> None:
    x = {"x": np.ones((1, 512, 512), np.float32)}
    tasks = [asyncio.create_task(client.infer("busy", x, ["y"])) for _ in range(4)]

    while await asyncio.to_thread(pending_requests, triton, "busy") < 1:
        assert not all(task.done() for task in tasks)
    for task in tasks:
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert any(isinstance(answer, asyncio.CancelledError) for answer in answers)
    while not metric(triton, "nv_inference_request_failure", model="busy", reason="CANCELED"):  # noqa: ASYNC110
        await asyncio.sleep(0.05)  # between two looks
