"""Joining and splitting requests, without Triton."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.triton.backends.onnxruntime.onnx_batching import groups, join, run_alone, run_together, split

TAGS = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 3)), max_size=12)
"""Rows and width of each request."""


class Network:
    """y = 2x, and counts its runs; refuses a batch that has a negative number in it."""

    def __init__(self) -> None:
        self.runs = 0

    def __call__(self, inputs):
        self.runs += 1
        if (inputs["x"] < 0).any():
            raise RuntimeError("negative")
        return {"y": inputs["x"] * 2, "first": inputs["x"][:, :1]}


def request(tag: float, rows: int = 1, width: int = 2) -> dict[str, np.ndarray]:
    return {"x": np.full((rows, width), tag, np.float32)}


@given(TAGS)
def test_any_split_of_rows_into_requests_comes_back_to_its_owner(sizes) -> None:
    requests = [request(tag, *size) for tag, size in enumerate(sizes)]
    network = Network()
    answers = run_together(network, requests)
    assert len(answers) == len(requests)
    for asked, answer in zip(requests, answers, strict=True):
        assert not isinstance(answer, Exception)
        np.testing.assert_array_equal(answer["y"], asked["x"] * 2)
        np.testing.assert_array_equal(answer["first"], asked["x"][:, :1])
    assert network.runs == len({width for _, width in sizes})


@given(TAGS, st.data())
def test_bad_requests_fail_alone(sizes, data) -> None:
    bad = data.draw(st.sets(st.integers(0, max(0, len(sizes) - 1))))
    requests = [request(-1 if tag in bad else tag, *size) for tag, size in enumerate(sizes)]
    for tag, answer in enumerate(run_together(Network(), requests)):
        if tag in bad:
            assert isinstance(answer, RuntimeError)
        else:
            assert not isinstance(answer, Exception)
            np.testing.assert_array_equal(answer["y"], requests[tag]["x"] * 2)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6))
def test_split_undoes_join(rows) -> None:
    requests = [request(tag, count) for tag, count in enumerate(rows)]
    for before, after in zip(requests, split(join(requests), rows), strict=True):
        np.testing.assert_array_equal(before["x"], after["x"])


def test_a_single_request_is_not_copied() -> None:
    asked = request(1)
    assert join([asked])["x"] is asked["x"]


def test_inputs_that_differ_in_type_or_dims_are_not_joined() -> None:
    requests = [request(1), request(2, width=3), {"x": np.ones((1, 2), np.uint8)}, request(3, rows=4)]
    assert list(groups(requests)) == [[0, 3], [1], [2]]


@pytest.mark.parametrize(
    "inputs",
    [
        {"x": np.ones((2, 2)), "z": np.ones((3, 2))},
        {"x": np.ones((0, 2))},
        {"x": np.float32(1).reshape(())},
        {},
    ],
)
def test_a_request_without_a_definite_number_of_rows_is_refused_alone(inputs) -> None:
    bad, good = run_together(Network(), [inputs, request(1)])
    assert isinstance(bad, ValueError)
    assert not isinstance(good, Exception)


def test_an_answer_with_rows_that_are_not_the_requests_is_given_to_nobody() -> None:
    def shrinking(inputs):
        return {"y": inputs["x"][:1]}

    lone, double = run_together(shrinking, [request(1), request(2, rows=2)])
    assert not isinstance(lone, Exception)  # alone it has the rows it should have
    assert isinstance(double, RuntimeError)


def test_without_batching_rows_are_the_networks_affair() -> None:
    assert run_alone(lambda _: {"y": np.ones(3)}, request(1))["y"].shape == (3,)
    assert isinstance(run_alone(Network(), request(-1)), RuntimeError)
