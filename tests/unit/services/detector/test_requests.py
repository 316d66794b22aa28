"""Requests are checked field by field."""

import pytest

from hemaserve.cells import Kind
from hemaserve.crops import CropEncoding
from hemaserve.errors import InvalidArgument
from hemaserve.v1 import cells_pb2, detector_pb2
from services.detector.requests import read_order

NAN, INF = float("nan"), float("inf")


def test_an_empty_request_gets_the_contracts_defaults():
    order = read_order(detector_pb2.DetectRequest())
    assert (order.model, order.um_per_px, order.kinds, order.score_threshold) == ("", None, None, None)
    assert order.crops.kinds == {Kind.WBC}
    assert (order.crops.encoding, order.crops.size_px) == (CropEncoding.RAW_RGB8, 96)
    assert order.crops.margin == 0.15


def test_what_a_request_says_is_what_is_done():
    order = read_order(
        detector_pb2.DetectRequest(
            model="yolov5n",
            um_per_px=0.05,
            kinds=[cells_pb2.CELL_KIND_RBC, cells_pb2.CELL_KIND_WBC],
            crop_kinds=[cells_pb2.CELL_KIND_RBC],
            crop_encoding=cells_pb2.CROP_ENCODING_PNG,
            crop_size_px=128,
            crop_margin=0,
            score_threshold=0.25,
        )
    )
    assert (order.model, order.um_per_px, order.score_threshold) == ("yolov5n", 0.05, 0.25)
    assert order.kinds == {Kind.RBC, Kind.WBC}
    assert order.crops.kinds == {Kind.RBC}
    assert (order.crops.encoding, order.crops.size_px, order.crops.margin) == (CropEncoding.PNG, 128, 0)


def test_no_crops_are_cut_when_none_are_wanted():
    order = read_order(detector_pb2.DetectRequest(crop_encoding=cells_pb2.CROP_ENCODING_NONE))
    assert order.crops.kinds == frozenset()


@pytest.mark.parametrize(
    "accepted",
    [
        {"um_per_px": 0.02},
        {"um_per_px": 1},
        {"crop_size_px": 16},
        {"crop_size_px": 512},
        {"crop_margin": 2},
        {"score_threshold": 1},
        {"score_threshold": 1e-6},
    ],
)
def test_limits_belong_to_what_is_allowed(accepted):
    read_order(detector_pb2.DetectRequest(**accepted))


@pytest.mark.parametrize(
    ("request_fields", "field"),
    [
        ({"um_per_px": 0.0199}, "um_per_px"),
        ({"um_per_px": 1.01}, "um_per_px"),
        ({"um_per_px": -0.1}, "um_per_px"),
        ({"um_per_px": NAN}, "um_per_px"),
        ({"um_per_px": INF}, "um_per_px"),
        ({"score_threshold": 0}, "score_threshold"),
        ({"score_threshold": -0.5}, "score_threshold"),
        ({"score_threshold": 1.01}, "score_threshold"),
        ({"score_threshold": NAN}, "score_threshold"),
        ({"score_threshold": INF}, "score_threshold"),
        ({"crop_size_px": 15}, "crop_size_px"),
        ({"crop_size_px": 513}, "crop_size_px"),
        ({"crop_size_px": 2**32 - 1}, "crop_size_px"),
        ({"crop_margin": -0.1}, "crop_margin"),
        ({"crop_margin": 2.01}, "crop_margin"),
        ({"crop_margin": NAN}, "crop_margin"),
        ({"crop_encoding": 99}, "crop_encoding"),
        ({"kinds": [1, 0]}, "kinds[1]"),
        ({"kinds": [77]}, "kinds[0]"),
        ({"crop_kinds": [77]}, "crop_kinds[0]"),
        ({"crop_kinds": [77], "crop_encoding": 1}, "crop_kinds[0]"),
        ({"model": "m" * 129}, "model"),
    ],
)
def test_what_is_out_of_range_is_refused_by_name(request_fields, field):
    with pytest.raises(InvalidArgument) as refused:
        read_order(detector_pb2.DetectRequest(**request_fields))
    assert refused.value.field == field
    assert refused.value.allowed
