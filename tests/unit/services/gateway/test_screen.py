"""The leukemia screen in AnalyzeField and AnalyzeSmear, over real gRPC."""

import itertools

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hemaserve.errors import FailedPrecondition, Internal, Unavailable
from hemaserve.v1 import cells_pb2, gateway_pb2

LYMPHOCYTE, SEGMENTED = cells_pb2.CELL_TYPE_LYMPHOCYTE, cells_pb2.CELL_TYPE_NEUTROPHIL_SEGMENTED
UNNAMED, UNSCREENABLE = 0, 254
FLAGGED = gateway_pb2.REVIEW_REASON_SCREEN_FLAGGED
SCREEN = gateway_pb2.AnalyzeOptions(screen=True)


def request(field, **options):
    return gateway_pb2.AnalyzeFieldRequest(
        field=field, options=gateway_pb2.AnalyzeOptions(screen=True, **options)
    )


def large(world, cell_type=LYMPHOCYTE, **parts):
    """A cell that the fake's screen flags."""
    return world.cell(cell_type, box=(100, 100, 40), **parts)


async def refused(call):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    info = error_details_pb2.ErrorInfo()
    for detail in rpc_status.from_call(caught.value).details:
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
    return caught.value.code(), info.reason


async def test_field_and_white_cells_carry_findings_beside_their_types(world):
    world.classifier.flagged_fields = {"f"}
    answer = await world.stub.AnalyzeField(
        request(world.field("f", [SEGMENTED, large(world), LYMPHOCYTE], chunk=2))
    )
    result = answer.result
    assert result.screen.flagged
    assert result.screen.probability == pytest.approx(0.9)
    assert [getattr(each, "class") for each in result.screen.classes] == ["benign", "bad"]
    assert [cell.screen.flagged for cell in result.cells] == [False, True, False]
    assert [cell.classification.type for cell in result.cells] == [SEGMENTED, LYMPHOCYTE, LYMPHOCYTE]
    assert result.tally.screen == gateway_pb2.FieldScreenTally(
        field_flagged=True, cells_flagged=1, cells_screened=3
    )
    assert [source.name for source in result.provenance.screens] == ["leukemia_cell", "leukemia_field"]
    assert FLAGGED in answer.differential.review_reasons


async def test_without_being_asked_for_nothing_is_screened(world):
    answer = await world.stub.AnalyzeField(
        gateway_pb2.AnalyzeFieldRequest(field=world.field("f", [large(world)]))
    )
    assert world.classifier.screened == []
    assert not answer.result.HasField("screen")
    assert not answer.result.cells[0].HasField("screen")
    assert not answer.result.tally.HasField("screen")
    assert not answer.result.provenance.screens
    assert FLAGGED not in answer.differential.review_reasons


async def test_the_screen_changes_nothing_of_the_classification(world):
    field = world.field("f", [SEGMENTED, large(world, UNNAMED), LYMPHOCYTE])
    plain = await world.stub.AnalyzeField(gateway_pb2.AnalyzeFieldRequest(field=field))
    screened = await world.stub.AnalyzeField(request(field))
    assert [cell.classification for cell in screened.result.cells] == [
        cell.classification for cell in plain.result.cells
    ]
    assert screened.differential.leukocytes == plain.differential.leukocytes
    assert screened.result.result_id != plain.result.result_id


@pytest.mark.parametrize("cell_type", [LYMPHOCYTE, SEGMENTED, UNNAMED, cells_pb2.CELL_TYPE_ERYTHROBLAST])
async def test_no_type_and_no_doubt_suppresses_a_flag(world, cell_type):
    answer = await world.stub.AnalyzeField(request(world.field("f", [large(world, cell_type)])))
    assert answer.result.cells[0].screen.flagged
    assert answer.result.tally.screen.cells_flagged == 1
    assert FLAGGED in answer.differential.review_reasons


async def test_a_field_without_cells_is_screened_all_the_same(world):
    world.classifier.flagged_fields = {"empty"}
    answer = await world.stub.AnalyzeField(request(world.field("empty", [])))
    assert answer.result.screen.flagged
    assert answer.result.tally.screen.cells_screened == 0
    assert list(answer.differential.review_reasons) == [FLAGGED]


async def test_only_white_cells_are_screened(world):
    kinds = [cells_pb2.CELL_KIND_WBC, cells_pb2.CELL_KIND_PLATELET]
    platelet = world.cell(cells_pb2.CELL_TYPE_PLATELET, kind=cells_pb2.CELL_KIND_PLATELET, box=(0, 0, 90))
    answer = await world.stub.AnalyzeField(request(world.field("f", [platelet, LYMPHOCYTE]), kinds=kinds))
    assert [cell.HasField("screen") for cell in answer.result.cells] == [False, True]
    assert answer.result.tally.screen.cells_screened == 1
    without = request(world.field("f", [platelet]), kinds=[cells_pb2.CELL_KIND_PLATELET])
    code, _ = await refused(world.stub.AnalyzeField(without))
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_field_is_not_answered_without_the_screen_that_was_asked_for(world):
    world.classifier.screen_errors = {"f": Internal("a network failed")}
    code, _ = await refused(world.stub.AnalyzeField(request(world.field("f", [LYMPHOCYTE]))))
    assert code is grpc.StatusCode.INTERNAL
    world.classifier.screen_errors = {"cells": Internal("a network failed")}
    code, _ = await refused(world.stub.AnalyzeField(request(world.field("f", [LYMPHOCYTE]))))
    assert code is grpc.StatusCode.INTERNAL


async def test_a_cell_that_was_left_out_or_could_not_be_screened_fails_the_field(world):
    code, _ = await refused(world.stub.AnalyzeField(request(world.field("f", [LYMPHOCYTE, UNSCREENABLE]))))
    assert code is grpc.StatusCode.INTERNAL
    world.classifier.unscreened_cells = True
    code, _ = await refused(world.stub.AnalyzeField(request(world.field("f", [LYMPHOCYTE, LYMPHOCYTE]))))
    assert code is grpc.StatusCode.INTERNAL


async def test_where_the_networks_are_not_loaded_only_the_screen_is_refused(make_world):
    world = await make_world()
    world.classifier.screen_loaded = world.classifier.screen_there = False
    field = world.field("f", [LYMPHOCYTE])
    assert await refused(world.stub.AnalyzeField(request(field))) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "SCREEN_NOT_LOADED",
    )
    await world.stub.AnalyzeField(gateway_pb2.AnalyzeFieldRequest(field=field))


async def test_networks_that_are_not_loaded_yet_are_loaded_when_a_screen_is_asked_for(make_world):
    world = await make_world()
    world.classifier.screen_loaded = False
    await world.stub.AnalyzeField(gateway_pb2.AnalyzeFieldRequest(field=world.field("f", [LYMPHOCYTE])))
    assert not world.classifier.screen_loaded
    answer = await world.stub.AnalyzeField(request(world.field("f", [LYMPHOCYTE])))
    assert answer.result.cells[0].HasField("screen")


async def test_a_screen_of_other_crops_than_the_classifier_sees_is_refused(make_world):
    world = await make_world()
    world.classifier.screen_margin = 0.5
    assert await refused(world.stub.AnalyzeField(request(world.field("f", [LYMPHOCYTE])))) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "SCREEN_CROPS_DIFFER",
    )


async def test_a_screening_network_cannot_be_named_as_a_classifier(world):
    named = gateway_pb2.AnalyzeFieldRequest(
        field=world.field("f", [LYMPHOCYTE]), options=gateway_pb2.AnalyzeOptions(model="leukemia_cell")
    )
    code, _ = await refused(world.stub.AnalyzeField(named))
    assert code is grpc.StatusCode.NOT_FOUND


async def test_a_smear_counts_its_screen_in_sequence_over_the_counted_fields(world):
    world.classifier.flagged_fields = {"b", "z"}
    fields = [
        world.field("a", [SEGMENTED] * 60, sequence=1),
        world.field("b", [LYMPHOCYTE] * 20, sequence=2),
        world.field("c", [large(world), *[LYMPHOCYTE] * 30], sequence=3),
        world.field("z", [LYMPHOCYTE] * 60, sequence=9),
    ]
    _, smear = await world.smear(fields, target=100, options=SCREEN)
    assert smear.last_sequence == 3
    assert smear.screen == gateway_pb2.SmearScreen(
        fields_screened=3, fields_flagged=1, cells_screened=111, cells_flagged=1, flagged_field_ids=["b", "c"]
    )
    assert FLAGGED in smear.differential.review_reasons
    assert [source.name for source in smear.provenance.screens] == ["leukemia_cell", "leukemia_field"]


async def test_a_smear_without_flags_says_that_it_was_screened_and_needs_no_review(world):
    _, smear = await world.smear([world.field("a", [SEGMENTED], sequence=1)], options=SCREEN)
    assert smear.HasField("screen")
    assert (smear.screen.fields_screened, smear.screen.cells_screened) == (1, 1)
    assert not smear.screen.flagged_field_ids
    assert FLAGGED not in smear.differential.review_reasons


async def test_a_field_whose_screen_fails_is_a_failed_field_of_its_smear(world):
    world.classifier.screen_errors = {"b": Internal("a network failed")}
    fields = [world.field(name, [SEGMENTED], sequence=number) for number, name in enumerate("abc", start=1)]
    results, smear = await world.smear(fields, options=SCREEN)
    failed = next(result for result in results if result.field_id == "b")
    assert failed.HasField("error")
    assert not failed.cells
    assert failed.tally.failed
    assert list(smear.failed_field_ids) == ["b"]
    assert smear.screen.fields_screened == 2
    assert smear.differential.identified_leukocytes == 2
    assert gateway_pb2.REVIEW_REASON_FAILED_FIELDS in smear.differential.review_reasons


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FailedPrecondition("not loaded", reason="SCREEN_NOT_LOADED"), grpc.StatusCode.FAILED_PRECONDITION),
        (Unavailable("Triton is away"), grpc.StatusCode.UNAVAILABLE),
    ],
)
async def test_what_every_field_lacks_ends_the_stream_and_fails_no_field(world, error, code):
    world.classifier.screen_errors = {"a": error}
    call = world.smear([world.field("a", [SEGMENTED], sequence=1)], options=SCREEN)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is code


async def test_a_tally_with_more_flags_than_cells_is_refused(world):
    screen = gateway_pb2.FieldScreenTally(cells_flagged=2, cells_screened=1)
    tally = gateway_pb2.FieldTally(field_id="a", sequence=1, screen=screen)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.smear([], received=[tally], options=SCREEN)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "open.received[0].screen.cells_flagged" in caught.value.details()


FIELDS = st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=6)


@given(fields=FIELDS, broken_after=st.integers(0, 6), asked_again=st.booleans())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_resumed_smear_has_the_screen_of_an_unbroken_one(world, fields, broken_after, asked_again):
    world.classifier.flagged_fields = {f"f{i}" for i, (flagged, _, _) in enumerate(fields) if flagged}
    sent = [
        world.field(f"f{i}", [*[large(world)] * flagged, *[SEGMENTED] * plain], sequence=i)
        for i, (_, flagged, plain) in enumerate(fields)
    ]
    results, whole = await world.smear(sent, options=SCREEN)
    received = [result.tally for result in results if result.sequence < broken_after]
    rest = [field for field in sent if field.sequence >= broken_after]
    # Once all is there, what was found before counts even when the screen is not asked for any more.
    options = SCREEN if asked_again or rest else gateway_pb2.AnalyzeOptions()
    _, resumed = await world.smear(rest, received=received, options=options)
    assert resumed.screen == whole.screen
    assert resumed.result_id == whole.result_id
    assert resumed.differential == whole.differential
    counted = list(itertools.chain.from_iterable(result.cells for result in results))
    assert whole.screen.cells_screened == len(counted)
    assert whole.screen.cells_flagged == sum(cell.screen.flagged for cell in counted)
