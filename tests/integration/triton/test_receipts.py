"""Networks, as the exporter configures them for our own backend, say what they were shown."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from hemaserve.errors import Internal, Unavailable
from services.triton.client import TritonClient
from services.triton.receipts import Receipt, check
from training import triton_config
from training.triton_config import EnsembleStep, ModelSpec, TensorSpec

from ..small_models import onnx, write_model

X_TYPE = ("TYPE_FP32", (4,))
X, Y, MEAN = (TensorSpec(name, *X_TYPE) for name in ("x", "y", "mean"))


@pytest.fixture(scope="module")
def served(tmp_path_factory, start_triton):
    root = tmp_path_factory.mktemp("receipts")
    for name, added in (("one", 1.0), ("three", 3.0)):
        network(
            root, ModelSpec(name, 8, (X,), (Y,), {}), onnx.helper.make_node("Add", ["x", "c"], ["y"]), added
        )
    halves = ModelSpec("vote", 8, (TensorSpec("b", *X_TYPE), TensorSpec("a", *X_TYPE)), (MEAN,), {})
    network(root, halves, onnx.helper.make_node("Mean", ["a", "b"], ["mean"]))
    steps = (
        EnsembleStep("one", {"x": "x"}, {"y": "one_y"}),
        EnsembleStep("three", {"x": "x"}, {"y": "three_y"}),
        EnsembleStep("vote", {"b": "one_y", "a": "three_y"}, {"mean": "mean"}),
    )
    inner = tuple(TensorSpec(name, *X_TYPE) for name in ("one_y", "three_y"))
    triton_config.write(ModelSpec("both", 8, (X,), (MEAN,), {}, steps, inner=inner), root / "both")
    (root / "both" / "1").mkdir()
    with start_triton(root) as server:
        yield server


def network(root: Path, spec: ModelSpec, node, added: float | None = None) -> None:
    write_model(
        root,
        spec.name,
        "",
        nodes=[node],
        inputs=[(tensor.name, "FLOAT", ["N", 4]) for tensor in spec.inputs],
        outputs=[(tensor.name, "FLOAT", ["N", 4]) for tensor in spec.outputs],
        constants={} if added is None else {"c": np.full(1, added, np.float32)},
    )
    triton_config.write(spec, root / spec.name)


@pytest.mark.parametrize(("model", "output", "added"), [("one", "y", 1.0), ("both", "mean", 2.0)])
async def test_answers_are_checked_and_only_what_was_wanted_is_returned(served, model, output, added):
    async with TritonClient(served.grpc_address) as client:

        async def one(seed: int) -> None:
            x = np.random.default_rng(seed).normal(size=(seed % 8 + 1, 4)).astype(np.float32)
            answer = await client.infer(model, {"x": x}, [output], timeout_s=20)
            assert list(answer) == [output]
            np.testing.assert_allclose(answer[output], x + added, rtol=1e-5)

        await asyncio.gather(*(one(seed) for seed in range(40)))


async def test_what_networks_say_is_no_receipt_for_anything_else(served):
    """Here the answers of one request are held against another: what a frozen process once did to a field."""
    rows = np.arange(8, dtype=np.float32).reshape(2, 4)
    async with TritonClient(served.grpc_address) as client:
        await client.infer("both", {"x": rows}, ["mean"], timeout_s=20)
        receipts = client._receipts["both"]
        assert [receipt.output for receipt in receipts] == ["one_received", "three_received", "vote_received"]
        outputs = ["mean", "one_y", "three_y", *(receipt.output for receipt in receipts)]
        answer = await client.infer("both", {"x": rows}, outputs, timeout_s=20)
    check("both", receipts, {"x": rows}, answer)
    for receipt in receipts:
        with pytest.raises(Unavailable):
            check("both", [receipt], {"x": rows + 1}, {**answer, "one_y": answer["one_y"] + 1})


async def test_receipts_are_asked_for_anew_when_what_answers_is_configured_in_another_way(served):
    """As when a Triton with our backend is replaced by one without, or the other way round."""
    rows = np.zeros((1, 4), np.float32)
    async with TritonClient(served.grpc_address) as client:
        client._receipts["one"] = (Receipt("said_nowhere", ("x",)),)
        with pytest.raises(Internal):
            await client.infer("one", {"x": rows}, ["y"], timeout_s=20)
        assert (await client.infer("one", {"x": rows}, ["y"], timeout_s=20))["y"].tolist() == [[1.0] * 4]
        assert client._receipts["one"] == (Receipt("received", ("x",)),)
