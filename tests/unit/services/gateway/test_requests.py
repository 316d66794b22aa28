"""What callers may get wrong, and how it is named."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemaserve.cells import CellType, Kind
from hemaserve.crops import CropEncoding
from hemaserve.errors import FailedPrecondition, InvalidArgument
from hemaserve.results import Priority
from hemaserve.tally import FieldTally, SlidePosition, TalliedCell
from hemaserve.v1 import cells_pb2, gateway_pb2
from services.gateway import requests, results
from services.gateway.orders import AnalyzeOptions, FieldOrder, RefusedField

MAX = 1000


def field(**parts) -> gateway_pb2.Field:
    return gateway_pb2.Field(**{"field_id": "f", "image": b"image", **parts})


def opening(**parts) -> gateway_pb2.AnalyzeSmearRequest:
    return gateway_pb2.AnalyzeSmearRequest(open=gateway_pb2.OpenSmear(**{"smear_id": "s", **parts}))


def test_a_field_with_nothing_but_an_image_is_a_field():
    order = requests.field_order(gateway_pb2.Field(image=b"image"), max_image_bytes=MAX)
    assert order == FieldOrder(field_id="", image=b"image")


def test_what_is_known_of_a_field_is_kept():
    acquisition = gateway_pb2.Acquisition(
        um_per_px=0.25, stage_position=gateway_pb2.StagePosition(x_um=-3, y_um=4)
    )
    order = requests.field_order(field(sequence=2**64 - 1, acquisition=acquisition), max_image_bytes=MAX)
    assert (order.sequence, order.um_per_px) == (2**64 - 1, 0.25)
    assert order.stage_position == SlidePosition(-3, 4)


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ({"image": b""}, "field.image"),
        ({"image": bytes(MAX + 1)}, "field.image"),
        ({"field_id": "x" * 129}, "field.field_id"),
        ({"acquisition": gateway_pb2.Acquisition(stain="x" * 65)}, "field.acquisition.stain"),
        ({"acquisition": gateway_pb2.Acquisition(site_profile="x" * 65)}, "field.acquisition.site_profile"),
        (
            {"acquisition": gateway_pb2.Acquisition(stage_position=gateway_pb2.StagePosition(y_um=math.inf))},
            "field.acquisition.stage_position.y_um",
        ),
    ],
)
def test_a_field_that_is_not_allowed_is_named_by_its_path(parts, path):
    with pytest.raises(InvalidArgument) as caught:
        requests.field_order(field(**parts), max_image_bytes=MAX)
    assert caught.value.field == path


@given(st.floats(width=32))
def test_a_scale_is_unknown_or_within_its_range(um_per_px):
    message = field(acquisition=gateway_pb2.Acquisition(um_per_px=um_per_px))
    if um_per_px == 0 or 0.0199999 <= um_per_px <= 1:
        assert requests.field_order(message, max_image_bytes=MAX).um_per_px == (um_per_px or None)
    else:
        with pytest.raises(InvalidArgument, match=r"^field\.acquisition\.um_per_px: "):
            requests.field_order(message, max_image_bytes=MAX)


def test_the_least_scale_of_the_contract_is_allowed():
    order = requests.field_order(
        field(acquisition=gateway_pb2.Acquisition(um_per_px=0.02)), max_image_bytes=MAX
    )
    assert order.um_per_px == pytest.approx(0.02)


def test_options_default_to_white_cells_without_crops():
    assert requests.analyze_options(gateway_pb2.AnalyzeOptions(), path="options") == AnalyzeOptions()
    assert AnalyzeOptions().kinds == {Kind.WBC}
    assert AnalyzeOptions().crop_encoding is CropEncoding.NONE


@pytest.mark.parametrize(
    ("options", "path"),
    [
        (gateway_pb2.AnalyzeOptions(model="x" * 129), "open.options.model"),
        (gateway_pb2.AnalyzeOptions(detector_model="x" * 129), "open.options.detector_model"),
        (gateway_pb2.AnalyzeOptions(kinds=[cells_pb2.CELL_KIND_WBC, 99]), "open.options.kinds[1]"),
        (gateway_pb2.AnalyzeOptions(crop_encoding=99), "open.options.crop_encoding"),
    ],
)
def test_options_that_are_not_allowed_are_named_by_their_path(options, path):
    with pytest.raises(InvalidArgument) as caught:
        requests.smear_order(opening(options=options))
    assert caught.value.field == path


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ({"smear_id": ""}, "open.smear_id"),
        ({"smear_id": "x" * 129}, "open.smear_id"),
        ({"specimen": "x" * 65}, "open.specimen"),
        ({"target": 99}, "open.target"),
        ({"target": 300}, "open.target"),
        ({"priority": 4}, "open.priority"),
        ({"received": [gateway_pb2.FieldTally()]}, "open.received[0].field_id"),
        (
            {
                "received": [
                    gateway_pb2.FieldTally(
                        field_id="f", cells=[gateway_pb2.TalliedCell(diameter_um=float("nan"))]
                    )
                ]
            },
            "open.received[0].cells[0].diameter_um",
        ),
        (
            {
                "received": [
                    gateway_pb2.FieldTally(
                        field_id="f",
                        cells=[
                            gateway_pb2.TalliedCell(position=gateway_pb2.StagePosition(x_um=float("nan")))
                        ],
                    )
                ]
            },
            "open.received[0].cells[0].position.x_um",
        ),
    ],
)
def test_an_opening_that_is_not_allowed_is_named_by_its_path(parts, path):
    with pytest.raises(InvalidArgument) as caught:
        requests.smear_order(opening(**parts))
    assert caught.value.field == path


@pytest.mark.parametrize("target", [0, 100, 200, 400])
def test_the_targets_of_the_contract_are_allowed(target):
    order = requests.smear_order(opening(target=target, priority=gateway_pb2.PRIORITY_STAT))
    assert (order.target, order.priority) == (target, Priority.STAT)


def test_a_smears_field_without_a_proper_image_can_still_be_acknowledged():
    message = gateway_pb2.AnalyzeSmearRequest(field=field(image=b"", sequence=7))
    refused = requests.smear_field(message, max_image_bytes=MAX)
    assert isinstance(refused, RefusedField)
    assert (refused.field_id, refused.sequence, refused.error.field) == ("f", 7, "field.image")


def test_a_smears_field_without_an_id_cannot_be_acknowledged():
    with pytest.raises(InvalidArgument) as caught:
        requests.smear_field(gateway_pb2.AnalyzeSmearRequest(field=field(field_id="")), max_image_bytes=MAX)
    assert caught.value.field == "field.field_id"


def test_a_smear_is_opened_once_and_first():
    with pytest.raises(FailedPrecondition):
        requests.smear_field(opening(), max_image_bytes=MAX)
    with pytest.raises(FailedPrecondition):
        requests.smear_order(gateway_pb2.AnalyzeSmearRequest(field=field()))


positions = st.builds(SlidePosition, *[st.floats(-1e6, 1e6)] * 2)
tallied = st.builds(
    TalliedCell,
    cell_type=st.none() | st.sampled_from(CellType),
    identified=st.booleans(),
    position=st.none() | positions,
    diameter_um=st.floats(0, 100, width=32),
)
tallies = st.builds(
    FieldTally,
    field_id=st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1, max_size=128),
    sequence=st.integers(0, 2**64 - 1),
    cells=st.lists(tallied, max_size=5).map(tuple),
    failed=st.booleans(),
    degraded=st.booleans(),
    image_sha256=st.sampled_from(["", "ab" * 32]),
)


@given(tallies)
def test_a_tally_that_was_sent_out_and_handed_back_is_the_same(tally):
    order = requests.smear_order(opening(received=[results.tally_to_proto(tally)]))
    assert order.received == (tally,)


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.5, float("nan")])
def test_a_score_threshold_is_a_score(threshold):
    with pytest.raises(InvalidArgument):
        requests.detection_options(gateway_pb2.DetectCellsRequest(score_threshold=threshold))


def test_detection_reports_all_kinds_by_default():
    options = requests.detection_options(gateway_pb2.DetectCellsRequest())
    assert options.kinds == set(Kind)
    assert options.score_threshold is None
