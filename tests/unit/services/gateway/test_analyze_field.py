"""AnalyzeField over real gRPC, between a detector and a classifier that do as told."""

import hashlib
import io

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from PIL import Image

from hemaserve.errors import Internal, InvalidArgument, ResourceExhausted, Unavailable
from hemaserve.v1 import cells_pb2, gateway_pb2

SEGMENTED = cells_pb2.CELL_TYPE_NEUTROPHIL_SEGMENTED
NEUTROPHIL = cells_pb2.CELL_TYPE_NEUTROPHIL
LYMPHOCYTE = cells_pb2.CELL_TYPE_LYMPHOCYTE
ERYTHROBLAST = cells_pb2.CELL_TYPE_ERYTHROBLAST
UNNAMED = 0
ROUNDING_S = 0.1  # gRPC rounds timeouts up on the wire
WBC, RBC, PLATELET = cells_pb2.CELL_KIND_WBC, cells_pb2.CELL_KIND_RBC, cells_pb2.CELL_KIND_PLATELET


async def refusal(call) -> tuple[grpc.StatusCode, str, list]:
    """Code, message and details of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    error = caught.value
    details = []
    for detail in getattr(rpc_status.from_call(error), "details", ()):
        for kind in (error_details_pb2.BadRequest, error_details_pb2.ErrorInfo, error_details_pb2.RetryInfo):
            unpacked = kind()
            if detail.Unpack(unpacked):
                details.append(unpacked)
    return error.code(), error.details(), details


def request(field, **parts) -> gateway_pb2.AnalyzeFieldRequest:
    return gateway_pb2.AnalyzeFieldRequest(field=field, **parts)


async def test_white_cells_are_named_and_counted_with_exact_limits(world):
    field = world.field("f", [SEGMENTED] * 7 + [LYMPHOCYTE] * 3 + [ERYTHROBLAST, UNNAMED], chunk=5)
    answer = await world.stub.AnalyzeField(request(field))
    result, differential = answer.result, answer.differential
    assert [cell.detection.cell_id for cell in result.cells] == [f"c{index}" for index in range(12)]
    assert [cell.classification.type for cell in result.cells[:3]] == [SEGMENTED] * 3
    assert (differential.identified_leukocytes, differential.unidentified) == (10, 1)
    shares = {share.type: share for share in differential.leukocytes}
    assert (shares[NEUTROPHIL].count, shares[NEUTROPHIL].percent) == (7, pytest.approx(70))
    # Clopper-Pearson limits of 7 in 10, as tabulated.
    assert shares[NEUTROPHIL].percent_low == pytest.approx(34.75, abs=0.01)
    assert shares[NEUTROPHIL].percent_high == pytest.approx(93.33, abs=0.01)
    assert differential.erythroblasts.percent == pytest.approx(10)
    assert not differential.erythroblasts.HasField("percent_low")
    assert list(differential.review_reasons) == [gateway_pb2.REVIEW_REASON_UNIDENTIFIED_ABOVE_LIMIT]


async def test_a_result_is_preliminary_and_says_where_it_came_from(world):
    field = world.field("f", [SEGMENTED], sequence=4)
    result = (await world.stub.AnalyzeField(request(field))).result
    assert (result.revision, result.status) == (1, gateway_pb2.RESULT_STATUS_PRELIMINARY)
    assert result.result_id
    assert not result.supersedes_result_id
    assert (result.field_id, result.sequence) == ("f", 4)
    assert (result.width_px, result.height_px) == (640, 480)
    assert result.image_sha256 == hashlib.sha256(field.image).hexdigest()
    assert result.provenance.detector.sha256 == "d" * 64
    assert result.provenance.classifier.sha256 == "c" * 64
    assert result.provenance.identify_threshold == pytest.approx(0.75)
    assert list(result.provenance.score_thresholds) == pytest.approx([0.5, 0.25, 0.25])
    assert result.provenance.software_version


async def test_the_same_question_has_the_same_result_id_and_another_one_has_another(world):
    async def ask(field, **parts):
        return (await world.stub.AnalyzeField(request(field, **parts))).result.result_id

    field, other = world.field("f", [SEGMENTED]), world.field("f", [LYMPHOCYTE])
    options = gateway_pb2.AnalyzeOptions(model="xception")
    assert await ask(field) == await ask(field)
    assert len({await ask(field), await ask(other), await ask(field, options=options)}) == 3


async def test_a_field_without_white_cells_is_a_result_and_never_bothers_the_classifier(world):
    field = world.field("f", [world.cell(0, kind=RBC)] * 9 + [world.cell(0, kind=PLATELET)])
    answer = await world.stub.AnalyzeField(request(field))
    assert not answer.result.cells
    assert not answer.result.HasField("error")
    counts = {entry.kind: entry.count for entry in answer.result.kind_counts}
    assert counts == {WBC: 0, RBC: 9, PLATELET: 1}
    assert answer.differential.identified_leukocytes == 0
    assert len(answer.differential.leukocytes) >= 6
    assert not any(share.HasField("percent") for share in answer.differential.leukocytes)
    assert not world.classifier.calls
    assert not answer.result.provenance.HasField("classifier")


async def test_only_the_kinds_asked_for_are_classified_and_only_white_cells_are_counted(world):
    field = world.field(
        "f", [SEGMENTED, world.cell(LYMPHOCYTE, kind=PLATELET), world.cell(SEGMENTED, kind=RBC)]
    )
    options = gateway_pb2.AnalyzeOptions(kinds=[WBC, PLATELET])
    answer = await world.stub.AnalyzeField(request(field, options=options))
    assert [cell.detection.kind for cell in answer.result.cells] == [WBC, PLATELET]
    assert answer.differential.identified_leukocytes == 1
    assert len(answer.result.tally.cells) == 1


async def test_crops_are_asked_for_as_the_classifier_wants_them(world):
    await world.stub.AnalyzeField(request(world.field("f", [SEGMENTED])))
    asked = world.detector.seen("f")[0].request
    assert (asked.crop_size_px, asked.crop_margin) == (16, pytest.approx(0.25))
    assert asked.crop_encoding == cells_pb2.CROP_ENCODING_RAW_RGB8


async def test_crops_come_back_in_the_encoding_asked_for_and_the_classifier_saw_raw_pixels(world):
    field = world.field("f", [SEGMENTED, LYMPHOCYTE])
    for encoding, opens_as in ((cells_pb2.CROP_ENCODING_PNG, "PNG"), (cells_pb2.CROP_ENCODING_JPEG, "JPEG")):
        options = gateway_pb2.AnalyzeOptions(crop_encoding=encoding)
        answer = await world.stub.AnalyzeField(request(field, options=options))
        for cell, number in zip(answer.result.cells, (SEGMENTED, LYMPHOCYTE), strict=True):
            assert (cell.crop.cell_id, cell.crop.encoding) == (cell.detection.cell_id, encoding)
            image = Image.open(io.BytesIO(cell.crop.data))
            assert (image.format, image.size) == (opens_as, (16, 16))
            assert np.abs(np.asarray(image).astype(int) - number).max() <= 1
    raw = gateway_pb2.AnalyzeOptions(crop_encoding=cells_pb2.CROP_ENCODING_RAW_RGB8)
    answer = await world.stub.AnalyzeField(request(field, options=raw))
    assert answer.result.cells[0].crop.data == bytes([SEGMENTED]) * (16 * 16 * 3)
    assert not (await world.stub.AnalyzeField(request(field))).result.cells[0].HasField("crop")


async def test_crops_go_to_the_classifier_while_the_detector_is_still_sending(world, wait_until):
    last_chunk = world.detector.hold("f/1")
    call = world.stub.AnalyzeField(request(world.field("f", [SEGMENTED] * 8, chunk=4)))
    await wait_until(lambda: any(len(seen.cells) == 4 for seen in world.classifier.calls))
    assert "f" in world.detector.at_work
    last_chunk.set()
    assert len((await call).result.cells) == 8


async def test_more_cells_than_one_request_may_hold_are_all_named(world):
    field = world.field("f", [SEGMENTED] * 600, chunk=600)
    answer = await world.stub.AnalyzeField(request(field))
    assert answer.differential.identified_leukocytes == 600


async def test_a_degraded_answer_is_declared(world):
    world.classifier.degraded.add("f")
    answer = await world.stub.AnalyzeField(request(world.field("f", [SEGMENTED])))
    assert list(answer.differential.review_reasons) == [gateway_pb2.REVIEW_REASON_DEGRADED]
    assert answer.result.tally.degraded


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (gateway_pb2.PRIORITY_UNSPECIFIED, "routine"),
        (gateway_pb2.PRIORITY_STAT, "stat"),
        (gateway_pb2.PRIORITY_BATCH, "batch"),
    ],
)
async def test_priority_travels_with_every_hop(world, number, word):
    await world.stub.AnalyzeField(request(world.field("f", [SEGMENTED]), priority=number))
    for fake in (world.detector, world.classifier):
        assert fake.seen("f")[0].metadata["x-hemaserve-priority"] == word


async def test_the_callers_deadline_bounds_every_hop(world):
    await world.stub.AnalyzeField(request(world.field("f", [SEGMENTED])), timeout=7.0)
    for fake in (world.detector, world.classifier):
        assert 0 < fake.seen("f")[0].time_left_s <= 7.0 + ROUNDING_S


async def test_without_a_deadline_the_default_bounds_every_hop(make_world):
    world = await make_world(default_timeout_s=5.0)
    await world.stub.AnalyzeField(request(world.field("f", [SEGMENTED])))
    for fake in (world.detector, world.classifier):
        assert 0 < fake.seen("f")[0].time_left_s <= 5.0 + ROUNDING_S


async def test_the_default_deadline_is_kept(make_world):
    world = await make_world(default_timeout_s=0.3)
    world.detector.hold("f")
    code, _, _ = await refusal(world.stub.AnalyzeField(request(world.field("f", [SEGMENTED]))))
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize("where", ["detector", "classifier"])
async def test_work_whose_caller_has_gone_is_cancelled(world, wait_until, where):
    fake = getattr(world, where)
    fake.hold("f")
    call = world.stub.AnalyzeField(request(world.field("f", [SEGMENTED])))
    await wait_until(lambda: bool(fake.seen("f")))
    call.cancel()
    await wait_until(lambda: fake.seen("f")[0].ended == "stopped")


async def test_a_failing_classifier_stops_the_detector(world, wait_until):
    world.detector.hold("f/1")
    world.classifier.errors["f"] = Unavailable("no network", reason="TRITON_DOWN", retry_after_s=3)
    call = world.stub.AnalyzeField(request(world.field("f", [SEGMENTED] * 8, chunk=4)))
    code, message, details = await refusal(call)
    assert (code, message) == (grpc.StatusCode.UNAVAILABLE, "no network")
    assert error_details_pb2.ErrorInfo(reason="TRITON_DOWN", domain="hemaserve") in details
    await wait_until(lambda: world.detector.seen("f")[0].ended == "stopped")


async def test_what_the_detector_says_of_the_image_names_the_callers_field(world):
    code, message, details = await refusal(
        world.stub.AnalyzeField(request(gateway_pb2.Field(image=b"no image at all")))
    )
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert message.startswith("field.image:")
    assert details[0].reason == "IMAGE_UNREADABLE"
    assert details[1].field_violations[0].field == "field.image"


async def test_an_overloaded_detector_says_when_to_come_back(world):
    world.detector.errors["f"] = ResourceExhausted("full", retry_after_s=2.5)
    code, _, details = await refusal(world.stub.AnalyzeField(request(world.field("f", [SEGMENTED]))))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    retry = next(detail for detail in details if isinstance(detail, error_details_pb2.RetryInfo))
    assert retry.retry_delay.ToMilliseconds() == 2500


async def test_answers_for_other_cells_than_were_asked_are_never_passed_on(world):
    world.classifier.swap_answers = True
    code, _, _ = await refusal(world.stub.AnalyzeField(request(world.field("f", [SEGMENTED, LYMPHOCYTE]))))
    assert code is grpc.StatusCode.INTERNAL


async def test_a_crop_that_the_classifier_refuses_is_no_fault_of_the_callers(world):
    code, message, _ = await refusal(world.stub.AnalyzeField(request(world.field("f", [SEGMENTED, 255]))))
    assert (code, message) == (grpc.StatusCode.INTERNAL, "the classifier refused a crop")


async def test_an_unknown_model_is_named_with_those_there_are(world):
    options = gateway_pb2.AnalyzeOptions(model="resnet")
    code, message, details = await refusal(
        world.stub.AnalyzeField(request(world.field("f", []), options=options))
    )
    assert code is grpc.StatusCode.NOT_FOUND
    assert message == "options.model: no classification model 'resnet'; available: vit, xception"
    assert error_details_pb2.ErrorInfo(reason="MODEL_NOT_FOUND", domain="hemaserve") in details


async def test_defects_behind_the_gateway_show_nothing_of_themselves(world):
    world.detector.errors["f"] = Internal("an unexpected error; incident 7")
    code, message, _ = await refusal(world.stub.AnalyzeField(request(world.field("f", [SEGMENTED]))))
    assert (code, message) == (grpc.StatusCode.INTERNAL, "an unexpected error; incident 7")


async def test_one_bad_field_costs_the_request_beside_it_nothing(world):
    good = world.stub.AnalyzeField(request(world.field("good", [SEGMENTED])))
    world.detector.errors["bad"] = InvalidArgument("image", "damaged", "whole", reason="IMAGE_DAMAGED")
    code, _, _ = await refusal(world.stub.AnalyzeField(request(world.field("bad", [SEGMENTED]))))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert (await good).differential.identified_leukocytes == 1
