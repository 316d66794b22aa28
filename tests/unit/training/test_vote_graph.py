"""The ensemble's vote as an ONNX file says what the classifier's own vote says."""

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from hemaserve.voting import vote
from training.vote_graph import export_vote, vote_inputs

NAMES = ("efficientnet", "xception", "vit", "other")


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("temperature", [0.2, 0.77, 1.0, 3.0])
def test_it_votes_like_the_classifier_and_means_the_scores(tmp_path, count, temperature):
    members = NAMES[:count]
    export_vote(tmp_path / "1" / "model.onnx", members, 11, temperature)
    random = np.random.default_rng(count)
    opinions = [random.dirichlet(np.full(11, 0.2), 6).astype(np.float32) for _ in members]
    scores = [random.normal(size=(6, 1)).astype(np.float32) for _ in members]
    inputs = dict(zip([*members, *vote_inputs(members)[1]], [*opinions, *scores], strict=True))
    probabilities, ood_score = ReferenceEvaluator(str(tmp_path / "1" / "model.onnx")).run(None, inputs)
    np.testing.assert_allclose(probabilities, vote(opinions, temperature), atol=1e-5)
    np.testing.assert_allclose(ood_score, np.mean(scores, axis=0), atol=1e-6)


def test_a_low_temperature_leaves_no_row_without_a_winner(tmp_path):
    export_vote(tmp_path / "model.onnx", NAMES[:2], 11, 0.05)
    flat = np.full((1, 11), 1 / 11, np.float32)
    inputs = dict.fromkeys(NAMES[:2], flat) | dict.fromkeys(vote_inputs(NAMES[:2])[1], flat[:, :1])
    probabilities, _ = ReferenceEvaluator(str(tmp_path / "model.onnx")).run(None, inputs)
    np.testing.assert_allclose(probabilities, flat, rtol=1e-5)


def test_its_inputs_are_named_after_the_members(tmp_path):
    export_vote(tmp_path / "model.onnx", ("xception", "vit"), 11, 1.0)
    graph = onnx.load(str(tmp_path / "model.onnx")).graph
    assert [value.name for value in graph.input] == ["xception", "vit", "xception_ood", "vit_ood"]
    assert [value.name for value in graph.output] == ["probabilities", "ood_score"]
