"""Networks that do nothing, but answer as the real ones would."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from benchmarks.classifiers import embedded_config
from benchmarks.peers.describing import describe
from benchmarks.speed import empty_networks
from benchmarks.speed.networks import DETECTOR, ENSEMBLE, VOTE, members, onnx_file
from hemaserve.cells import Kind
from services.detector.predictions import read_predictions
from services.triton.backends.onnxruntime.onnx_network import Options, load

pytest.importorskip("onnx")

REPOSITORY = Path(__file__).resolve().parents[4] / "model_repository"
CELLS = 5


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    return empty_networks.write(tmp_path_factory.mktemp("repository"), REPOSITORY, cells=CELLS)


def answer(repository, name, inputs):
    network, _, _ = load(onnx_file(repository, name), Options(runtime="onnxruntime"))
    return network.run(inputs)


def test_it_has_the_networks_of_the_default_profile_with_their_own_digests(empty):
    assert {path.name for path in empty.iterdir()} == {ENSEMBLE, DETECTOR, *members(REPOSITORY), VOTE}
    for name in (DETECTOR, *members(REPOSITORY), VOTE):
        digest = embedded_config(empty / name).parameters["sha256"].string_value
        assert digest == hashlib.sha256(onnx_file(empty, name).read_bytes()).hexdigest()
        assert digest != embedded_config(REPOSITORY / name).parameters["sha256"].string_value


def test_the_detector_sees_the_cells_that_were_asked_for_in_each_square(empty):
    detector = describe(empty).detector
    squares = np.zeros((2, detector.input_px, detector.input_px, 3), np.uint8)
    for raw in answer(empty, DETECTOR, {"images": squares})["predictions"]:
        seen = read_predictions(raw, detector.kinds, detector.score_thresholds, nms_iou=detector.nms_iou)
        kinds = [detector.kinds[kind] for kind in seen.kinds]
        assert kinds.count(Kind.WBC) == CELLS
        assert kinds.count(Kind.RBC) == empty_networks.RED_CELLS


def test_classifiers_and_vote_answer_each_row_with_probabilities(empty):
    name = members(REPOSITORY)[0]
    found = answer(empty, name, {"crops": np.zeros((3, 96, 96, 3), np.uint8)})
    assert found["probabilities"].sum(axis=1) == pytest.approx([1, 1, 1])
    assert found["ood_score"].shape == (3, 1)
