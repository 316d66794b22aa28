"""DetectCells over real gRPC: the detector's half alone."""

import grpc
import pytest

from hemaserve.v1 import cells_pb2, gateway_pb2

SEGMENTED = cells_pb2.CELL_TYPE_NEUTROPHIL_SEGMENTED
WBC, RBC = cells_pb2.CELL_KIND_WBC, cells_pb2.CELL_KIND_RBC


async def test_all_kinds_come_back_unnamed_and_without_crops(world):
    field = world.field("f", [SEGMENTED, *[world.cell(0, kind=RBC)] * 6], chunk=3)
    answer = await world.stub.DetectCells(gateway_pb2.DetectCellsRequest(field=field))
    assert [detection.kind for detection in answer.detections] == [WBC] + [RBC] * 6
    assert not answer.crops
    assert (answer.field_id, answer.width_px, answer.height_px) == ("f", 640, 480)
    assert answer.provenance.detector.name == "yolo"
    assert not answer.provenance.HasField("classifier")
    assert not world.classifier.calls


async def test_crops_come_in_the_order_of_the_detections(world):
    field = world.field("f", [SEGMENTED] * 5, chunk=2)
    encoding = cells_pb2.CROP_ENCODING_RAW_RGB8
    request = gateway_pb2.DetectCellsRequest(field=field, crop_encoding=encoding, kinds=[WBC])
    # The fake cuts what it is asked to, so the size must come from the detector's own default.
    answer = await world.stub.DetectCells(request)
    assert [crop.cell_id for crop in answer.crops] == [found.cell_id for found in answer.detections]


async def test_the_order_reaches_the_detector_as_it_was_given(world):
    request = gateway_pb2.DetectCellsRequest(
        field=world.field("f", [], um_per_px=0.25),
        detector_model="yolo",
        kinds=[RBC],
        score_threshold=0.4,
        priority=gateway_pb2.PRIORITY_BATCH,
    )
    await world.stub.DetectCells(request, timeout=5)
    seen = world.detector.seen("f")[0]
    assert (seen.request.model, list(seen.request.kinds)) == ("yolo", [RBC])
    assert seen.request.score_threshold == pytest.approx(0.4)
    assert seen.request.um_per_px == pytest.approx(0.25)
    assert seen.metadata["x-hemaserve-priority"] == "batch"
    assert seen.time_left_s <= 5.1


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.01, float("nan"), float("inf")])
async def test_a_threshold_that_is_none_is_refused(world, threshold):
    request = gateway_pb2.DetectCellsRequest(field=world.field("f", []), score_threshold=threshold)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.stub.DetectCells(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details().startswith("score_threshold:")


async def test_a_bad_image_names_the_callers_field(world):
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await world.stub.DetectCells(gateway_pb2.DetectCellsRequest(field=gateway_pb2.Field(image=b"text")))
    assert caught.value.details().startswith("field.image:")
