"""Raw predictions become candidates."""

import numpy as np
import pytest

from hemaserve.cells import Kind
from services.detector.predictions import (
    MAX_PER_PIECE,
    Candidates,
    join,
    nms_by_kind,
    read_predictions,
)

KINDS = (Kind.WBC, Kind.RBC, Kind.PLATELET)
THRESHOLDS = {Kind.WBC: 0.3, Kind.RBC: 0.4, Kind.PLATELET: 0.5}


def raw(*anchors):
    """Anchors of (cx, cy, w, h, wbc, rbc, platelet) as a network's answer [7, A]."""
    return np.array(anchors, np.float32).reshape(-1, 7).T


def read(predictions, thresholds=THRESHOLDS):
    return read_predictions(predictions, KINDS, thresholds, nms_iou=0.5)


def test_an_anchor_becomes_corners_score_and_kind():
    found = read(raw((100, 50, 40, 20, 0.1, 0.9, 0.0)))
    np.testing.assert_allclose(found.boxes, [[80, 40, 120, 60]])
    np.testing.assert_allclose(found.scores, [0.9])
    assert KINDS[found.kinds[0]] is Kind.RBC


@pytest.mark.parametrize(
    ("scores", "kinds"),
    [
        ((0.29, 0, 0), []),
        ((0.30, 0, 0), [Kind.WBC]),
        ((0, 0.39, 0), []),
        ((0, 0.40, 0), [Kind.RBC]),
        ((0, 0, 0.49), []),
        ((0, 0, 0.50), [Kind.PLATELET]),
    ],
)
def test_each_kind_has_its_own_threshold(scores, kinds):
    found = read(raw((100, 50, 40, 20, *scores)))
    assert [KINDS[k] for k in found.kinds] == kinds


def test_a_kind_below_its_threshold_does_not_hide_a_lesser_one_that_reaches_its_own():
    found = read(raw((100, 50, 40, 20, 0.32, 0.38, 0.45)))
    assert [KINDS[k] for k in found.kinds] == [Kind.WBC]
    np.testing.assert_allclose(found.scores, [0.32])


def test_a_kind_that_is_not_looked_for_is_not_found():
    found = read(raw((100, 50, 40, 20, 0.9, 0, 0), (300, 50, 40, 20, 0, 0.9, 0)), {Kind.RBC: 0.4})
    assert [KINDS[k] for k in found.kinds] == [Kind.RBC]


def test_overlapping_anchors_of_one_kind_are_one_object_and_of_two_kinds_are_two():
    found = read(
        raw(
            (100, 100, 40, 40, 0.8, 0, 0),
            (102, 100, 40, 40, 0.9, 0, 0),
            (101, 100, 40, 40, 0, 0, 0.7),
        )
    )
    assert [(KINDS[k], round(float(s), 2)) for k, s in zip(found.kinds, found.scores, strict=True)] == [
        (Kind.WBC, 0.9),
        (Kind.PLATELET, 0.7),
    ]


@pytest.mark.parametrize(
    "box",
    [
        (np.nan, 50, 40, 20),
        (100, np.inf, 40, 20),
        (100, 50, 0, 20),
        (100, 50, 40, -1),
        (100, 50, np.nan, 20),
    ],
)
def test_boxes_that_are_empty_or_not_finite_are_no_objects(box):
    assert len(read(raw((*box, 0.9, 0, 0)))) == 0


def test_a_score_that_is_not_a_number_is_no_object():
    assert len(read(raw((100, 50, 40, 20, np.nan, np.nan, np.nan)))) == 0


def test_no_anchor_at_all_is_an_empty_answer():
    found = read(np.empty((7, 0), np.float32))
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == found.kinds.shape == (0,)


def test_a_network_with_other_rows_is_refused():
    with pytest.raises(ValueError, match="7, A"):
        read(np.zeros((6, 10), np.float32))


def test_a_piece_with_countless_objects_keeps_the_best_of_them():
    grid = [
        (x * 10 + 5, y * 10 + 5, 8, 8, 0.5 + 0.0001 * (y * 40 + x), 0, 0)
        for y in range(40)
        for x in range(40)
    ]
    found = read(raw(*grid))
    assert len(found) == MAX_PER_PIECE
    best = sorted((anchor[4] for anchor in grid), reverse=True)[:MAX_PER_PIECE]
    np.testing.assert_allclose(found.scores, best, rtol=1e-5)


def test_rank_decides_which_of_two_duplicates_stays():
    found = Candidates(
        np.array([[0, 0, 10, 10], [1, 0, 11, 10]], np.float32),
        np.array([0.9, 0.5], np.float32),
        np.array([0, 0]),
    )
    assert nms_by_kind(found, np.array([-0.1, 0.5], np.float32), iou_threshold=0.5).tolist() == [1]


def test_joining_keeps_the_order_of_the_parts():
    one = read(raw((100, 50, 40, 20, 0.9, 0, 0)))
    two = read(raw((300, 50, 40, 20, 0, 0.8, 0)))
    np.testing.assert_allclose(join([one, two]).scores, [0.9, 0.8])
