"""Answers about something else than what was asked are noticed, whatever was exchanged."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from hemaserve.errors import Unavailable
from services.triton.backends.onnxruntime.onnx_receipts import checksums
from services.triton.receipts import Receipt, check, needed, receipts_of

ONE = Receipt("received", ("crops",))


def crops(*values: int) -> np.ndarray:
    return np.repeat(np.array(values, np.uint8), 12).reshape(-1, 2, 2, 3)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=8))
def test_a_network_that_was_shown_what_was_asked_is_believed(values):
    check("network", [ONE], {"crops": crops(*values)}, {"received": checksums([crops(*values)])})


@given(st.lists(st.integers(0, 255), min_size=2, max_size=8, unique=True), st.data())
def test_exchanged_rows_are_noticed(values, data):
    order = data.draw(st.permutations(values).filter(lambda other: other != values))
    with pytest.raises(Unavailable, match="something else"):
        check("network", [ONE], {"crops": crops(*values)}, {"received": checksums([crops(*order)])})


@pytest.mark.parametrize("rows", [1, 3])
def test_the_answer_to_another_number_of_rows_is_noticed(rows):
    with pytest.raises(Unavailable):
        check("network", [ONE], {"crops": crops(1, 2)}, {"received": checksums([crops(*range(rows))])})


def test_where_a_value_stands_among_several_inputs_matters():
    left, right = np.zeros((1, 4), np.float32), np.ones((1, 4), np.float32)
    assert checksums([left, right]) != checksums([right, left])


def test_a_view_of_every_other_row_counts_like_its_copy():
    every_other = crops(1, 2, 3, 4)[::2]
    assert np.array_equal(checksums([every_other]), checksums([every_other.copy()]))


ENSEMBLE = """
    input { name: "crops" } output { name: "probabilities" } output { name: "one_said" }
    output { name: "one_received" } output { name: "vote_received" }
    ensemble_scheduling {
      step {
        model_name: "one" input_map { key: "images" value: "crops" }
        output_map { key: "probabilities" value: "one_said" }
        output_map { key: "received" value: "one_received" }
      }
      step {
        model_name: "vote"
        input_map { key: "b" value: "crops" } input_map { key: "a" value: "one_said" }
        output_map { key: "probabilities" value: "probabilities" }
        output_map { key: "received" value: "vote_received" }
      }
    }
"""


def parsed(text: str) -> model_config_pb2.ModelConfig:
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def test_every_step_of_an_ensemble_is_checked_by_what_it_was_shown():
    receipts = receipts_of(parsed(ENSEMBLE))
    assert receipts == (
        Receipt("one_received", ("crops",)),
        Receipt("vote_received", ("one_said", "crops")),  # in the order of the vote's own names
    )
    assert needed(receipts, ["crops"]) == {"one_received", "vote_received", "one_said"}


def test_a_vote_over_another_requests_opinions_is_noticed():
    receipts, pixels = receipts_of(parsed(ENSEMBLE)), crops(7)
    said, others = np.full((1, 2), 0.5, np.float32), np.full((1, 2), 0.25, np.float32)
    answer = {"one_said": said, "one_received": checksums([pixels])}
    check("whole", receipts, {"crops": pixels}, {**answer, "vote_received": checksums([said, pixels])})
    with pytest.raises(Unavailable):
        check("whole", receipts, {"crops": pixels}, {**answer, "vote_received": checksums([others, pixels])})


def test_a_network_without_receipts_is_asked_for_none():
    plain = parsed('input { name: "crops" } output { name: "probabilities" }')
    assert receipts_of(plain) == ()
    assert needed((), ["crops"]) == set()
