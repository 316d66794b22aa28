"""From what was found in a field to what is counted of it, and the ids of results."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hemaserve.cells import CellType, Kind
from hemaserve.crops import CropEncoding
from hemaserve.tally import FieldTally, SlidePosition, TalliedCell
from hemaserve.v1 import cells_pb2, gateway_pb2
from services.gateway.counting import tally_of
from services.gateway.identity import field_result_id, smear_result_id
from services.gateway.orders import AnalyzeOptions, FieldOrder
from services.gateway.pipeline import AnalyzedCell, FieldAnalysis
from services.gateway.provenance import merge_provenances
from services.gateway.requests import smear_order
from services.gateway.results import tally_to_proto
from services.runtime.translate import kind_to_proto


def analyzed(kind: int, number: int, *, box=(10, 20, 40, 60), degraded: bool = False) -> AnalyzedCell:
    x0, y0, x1, y1 = box
    return AnalyzedCell(
        cells_pb2.Detection(
            cell_id="c", kind=kind, box=cells_pb2.Box(x0_px=x0, y0_px=y0, x1_px=x1, y1_px=y1)
        ),
        cells_pb2.Classification(identified=True, type=number, degraded=degraded),
        None,
    )


def analysis(*cells: AnalyzedCell) -> FieldAnalysis:
    return FieldAnalysis(640, 480, "ab", None, cells, {}, cells_pb2.Provenance())


WBC, PLATELET = kind_to_proto(Kind.WBC), kind_to_proto(Kind.PLATELET)
MONOCYTE = cells_pb2.CELL_TYPE_MONOCYTE


def test_a_cells_place_on_the_slide_is_known_with_scale_and_stage():
    order = FieldOrder("f", b"", um_per_px=0.5, stage_position=SlidePosition(100, 200))
    (cell,) = tally_of(order, analysis(analyzed(WBC, MONOCYTE))).cells
    assert cell.position == SlidePosition(112.5, 220)
    # The square with the area of 30 by 40 px.
    assert cell.diameter_um == pytest.approx(17.3205, abs=1e-4)


def test_a_cells_place_is_unknown_without_either():
    stage = SlidePosition(1, 2)
    (cell,) = tally_of(FieldOrder("f", b"", stage_position=stage), analysis(analyzed(WBC, MONOCYTE))).cells
    assert (cell.position, cell.diameter_um) == (None, 0)
    (cell,) = tally_of(FieldOrder("f", b"", um_per_px=0.5), analysis(analyzed(WBC, MONOCYTE))).cells
    assert cell.position is None
    assert cell.diameter_um > 0


@given(side=st.floats(1, 500, width=32), um_per_px=st.floats(0.02, 1), x_um=st.floats(-1e5, 1e5))
def test_a_tally_counts_the_same_here_as_when_it_is_handed_back(side, um_per_px, x_um):
    order = FieldOrder("f", b"", um_per_px=um_per_px, stage_position=SlidePosition(x_um, 0.1))
    tally = tally_of(order, analysis(analyzed(WBC, MONOCYTE, box=(0, 0, side, side))))
    opening = gateway_pb2.OpenSmear(smear_id="s", received=[tally_to_proto(tally)])
    assert smear_order(gateway_pb2.AnalyzeSmearRequest(open=opening)).received == (tally,)


def test_only_white_cells_are_tallied_and_unknown_types_have_none():
    tally = tally_of(FieldOrder("f", b""), analysis(analyzed(PLATELET, MONOCYTE), analyzed(WBC, 99)))
    assert tally.cells == (TalliedCell(cell_type=None, identified=True),)


def test_a_tally_is_degraded_when_any_answer_was():
    cells = analyzed(WBC, MONOCYTE), analyzed(PLATELET, MONOCYTE, degraded=True)
    assert tally_of(FieldOrder("f", b""), analysis(*cells)).degraded


def provenance(detector: str = "d", members: tuple[str, ...] = ()) -> cells_pb2.Provenance:
    return cells_pb2.Provenance(
        detector=cells_pb2.ModelProvenance(name="yolo", sha256=detector),
        members=[cells_pb2.ModelProvenance(name=name) for name in members],
    )


def test_a_field_results_id_changes_with_all_that_its_answer_depends_on():
    tally = FieldTally("f", 1, image_sha256="ab")
    questions = [
        ("s", tally, AnalyzeOptions(), provenance(), {}),
        ("t", tally, AnalyzeOptions(), provenance(), {}),
        ("s", FieldTally("g", 1, image_sha256="ab"), AnalyzeOptions(), provenance(), {}),
        ("s", FieldTally("f", 2, image_sha256="ab"), AnalyzeOptions(), provenance(), {}),
        ("s", FieldTally("f", 1, image_sha256="cd"), AnalyzeOptions(), provenance(), {}),
        ("s", FieldTally("f", 1, image_sha256="ab", degraded=True), AnalyzeOptions(), provenance(), {}),
        ("s", tally, AnalyzeOptions(model="vit"), provenance(), {}),
        ("s", tally, AnalyzeOptions(crop_encoding=CropEncoding.PNG), provenance(), {}),
        ("s", tally, AnalyzeOptions(), provenance(detector="e"), {}),
        ("s", tally, AnalyzeOptions(), provenance(members=("vit",)), {}),
        ("s", tally, AnalyzeOptions(), provenance(), {"um_per_px": 0.25}),
        ("s", tally, AnalyzeOptions(), provenance(), {"reason": "IMAGE_DAMAGED"}),
    ]
    ids = [field_result_id(*parts, **more) for *parts, more in questions]
    assert len(set(ids)) == len(ids)
    assert ids == [field_result_id(*parts, **more) for *parts, more in questions]


def test_a_smear_results_id_changes_with_the_fields_that_it_rests_on():
    cell = TalliedCell(CellType.MONOCYTE, identified=True)
    first, second = FieldTally("f", 1, (cell,)), FieldTally("g", 2)
    ids = [
        smear_result_id("s", 0, [first, second]),
        smear_result_id("s", 100, [first, second]),
        smear_result_id("t", 0, [first, second]),
        smear_result_id("s", 0, [first]),
        smear_result_id("s", 0, [FieldTally("f", 1), second]),
        smear_result_id("s", 0, [first, FieldTally("g", 2, failed=True)]),
    ]
    assert len(set(ids)) == len(ids)


def test_merged_provenance_has_each_part_once_and_all_members():
    classifier = cells_pb2.Provenance(
        classifier=cells_pb2.ModelProvenance(name="ensemble"),
        identify_threshold=0.5,
        members=[cells_pb2.ModelProvenance(name="xception")],
    )
    merged = merge_provenances([provenance("d"), provenance("e", ("vit",)), classifier, classifier])
    assert (merged.detector.sha256, merged.classifier.name) == ("d", "ensemble")
    assert [member.name for member in merged.members] == ["vit", "xception"]
    assert merged.identify_threshold == pytest.approx(0.5)


def test_merged_provenance_has_the_limits_of_the_classifier_that_it_names():
    source = cells_pb2.ModelProvenance(name="ensemble")
    limited = cells_pb2.Provenance(classifier=source, ood_limit=0.0, disagreement_limit=0.25)
    merged = merge_provenances([provenance("d"), limited, cells_pb2.Provenance(classifier=source)])
    assert merged.HasField("ood_limit")
    assert (merged.ood_limit, merged.disagreement_limit) == (0.0, 0.25)
    unlimited = merge_provenances([cells_pb2.Provenance(classifier=source), limited])
    assert not unlimited.HasField("ood_limit")
    assert not unlimited.HasField("disagreement_limit")


def test_provenance_of_nothing_claims_no_network():
    merged = merge_provenances([])
    assert not merged.HasField("detector")
    assert not merged.HasField("classifier")
    assert merged.software_version
