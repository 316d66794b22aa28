"""The detector service finds and cuts cells with the real network."""

import hashlib
import io
import re
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from PIL import Image

from hemaserve.geometry import Box, iou_matrix
from hemaserve.imaging import PREPROCESSING_VERSION, cut_crop
from hemaserve.v1 import cells_pb2, detector_pb2
from services.detector.application import SERVICE_NAME
from services.detector.settings import DetectorSettings

REPOSITORY = Path(__file__).parents[3] / "model_repository"
WBC, RBC, PLATELET = cells_pb2.CELL_KIND_WBC, cells_pb2.CELL_KIND_RBC, cells_pb2.CELL_KIND_PLATELET
DEFAULT_LIMIT = 4 * 2**20
SURE = 0.6
"""A score that a platelet drawn too large does not get as a white cell."""
EMPTY = np.full((480, 640, 3), (236, 231, 228), np.uint8)


def box_of(detection):
    return Box(detection.box.x0_px, detection.box.y0_px, detection.box.x1_px, detection.box.y1_px)


async def test_the_service_says_that_it_serves_once_the_model_is_ready(channel):
    stub = health_pb2_grpc.HealthStub(channel)
    async for answer in stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE_NAME), timeout=60):
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            break


async def test_the_field_comes_first_with_where_the_answer_came_from(detect, field, encode):
    image = encode(field)
    answer = await detect(image=image)
    assert [message.HasField("field") for message in answer.messages] == [True] + [False] * (
        len(answer.messages) - 1
    )
    info = answer.field
    assert (info.width_px, info.height_px, info.tiles) == (640, 480, 1)
    assert info.detections == len(answer.detections) > 0
    assert info.image_sha256 == hashlib.sha256(image).hexdigest()
    assert info.provenance.detector.name == "yolov8n"
    assert len(info.provenance.detector.sha256) == 64
    assert info.provenance.preprocessing_version == PREPROCESSING_VERSION
    assert len(info.provenance.score_thresholds) == 3


async def test_detections_come_best_first_above_their_thresholds_inside_the_field(detect, field, encode):
    answer = await detect(image=encode(field))
    scores = [detection.score for detection in answer.detections]
    assert scores == sorted(scores, reverse=True)
    thresholds = answer.field.provenance.score_thresholds
    assert all(detection.score >= thresholds[detection.kind - 1] for detection in answer.detections)
    boxes = answer.boxes()
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] <= (640, 480)).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 1).all()


async def test_the_same_image_gives_the_same_answer_with_the_same_ids(detect, field, encode):
    image = encode(field)
    first, second = await detect(image=image), await detect(image=image)
    assert first.messages == second.messages
    ids = [detection.cell_id for detection in first.detections]
    assert len(set(ids)) == len(ids)
    only_white = await detect(image=image, kinds=[WBC])
    assert only_white.detections == [d for d in first.detections if d.kind == WBC]


async def test_crops_are_what_cut_crop_cuts_from_the_decoded_field(detect, field, encode):
    answer = await detect(image=encode(field), crop_kinds=[WBC, RBC], crop_size_px=80, crop_margin=0.3)
    by_id = {detection.cell_id: detection for detection in answer.detections}
    assert [crop.cell_id for crop in answer.crops] == [
        detection.cell_id for detection in answer.detections if detection.kind in (WBC, RBC)
    ]
    for crop in answer.crops:
        expected = cut_crop(field, box_of(by_id[crop.cell_id]), size=80, margin=np.float32(0.3))
        assert (crop.size_px, crop.encoding) == (80, cells_pb2.CROP_ENCODING_RAW_RGB8)
        assert crop.data == expected.tobytes()


async def test_encoded_crops_are_files_of_the_kind_asked_for(detect, field, encode):
    for encoding, file_format in (
        (cells_pb2.CROP_ENCODING_PNG, "PNG"),
        (cells_pb2.CROP_ENCODING_JPEG, "JPEG"),
    ):
        answer = await detect(image=encode(field), crop_encoding=encoding)
        assert len(answer.crops) == len(answer.boxes(WBC)) > 0
        file = Image.open(io.BytesIO(answer.crops[0].data))
        assert (file.format, file.size) == (file_format, (96, 96))


async def test_no_crops_when_none_are_wanted(detect, field, encode):
    answer = await detect(image=encode(field), crop_encoding=cells_pb2.CROP_ENCODING_NONE)
    assert len(answer.detections) > 0
    assert answer.crops == []


async def test_many_large_crops_come_in_messages_below_grpcs_default_limit(detect, field, encode):
    answer = await detect(image=encode(field), crop_kinds=[WBC, RBC, PLATELET], crop_size_px=512)
    sizes = [message.ByteSize() for message in answer.messages]
    assert sum(sizes) > DEFAULT_LIMIT
    assert max(sizes) <= 2**20
    assert len(answer.crops) == len(answer.detections)


async def test_a_field_without_cells_is_a_result(detect, encode):
    answer = await detect(image=encode(EMPTY))
    assert len(answer.messages) == 1
    assert answer.field.detections == 0
    assert (answer.field.width_px, answer.field.height_px) == (640, 480)


async def test_a_small_part_of_a_20_megapixel_field_is_seen_as_well_as_alone(detect, field, encode):
    """The same cells, at a place that no tile's grid was made for."""
    alone = (await detect(image=encode(field))).boxes(WBC)
    large = np.full((3648, 5472, 3), EMPTY[0, 0], np.uint8)
    x, y = 3333, 1777
    large[y : y + 480, x : x + 640] = field
    answer = await detect(image=encode(large, "BMP"))
    assert answer.field.tiles > 100
    overlaps = iou_matrix(answer.boxes(WBC), alone + np.float32([x, y, x, y]))
    assert overlaps.shape[0] == overlaps.shape[1]
    assert (overlaps.max(axis=0) > 0.7).all()


async def test_an_enlarged_field_is_seen_as_well_as_the_original(detect, field, encode):
    """Nothing says that its cells are three times as large, except its red cells."""
    alone = (await detect(image=encode(field), score_threshold=SURE)).boxes(WBC)
    large = Image.fromarray(field).resize((1920, 1440), Image.Resampling.BICUBIC)
    answer = await detect(image=encode(large), score_threshold=SURE)
    overlaps = iou_matrix(answer.boxes(WBC), alone * 3)
    assert overlaps.shape[0] == overlaps.shape[1]
    assert (overlaps.max(axis=0) > 0.7).all()


def shrunken(field):
    """Nine copies of a field at a third of its size, in the size of one."""
    small = Image.fromarray(field).resize((213, 160), Image.Resampling.BICUBIC)
    return np.pad(np.tile(np.asarray(small), (3, 3, 1)), ((0, 0), (0, 1), (0, 0)), mode="edge")


async def test_very_small_cells_are_seen_as_well_as_in_the_original(detect, field, encode):
    """The field is no larger than one that is seen in one piece; only what is seen then says that it should not be."""
    alone = (await detect(image=encode(field), score_threshold=SURE)).boxes(WBC)
    answer = await detect(image=encode(shrunken(field)), score_threshold=SURE)
    assert answer.field.tiles > 1
    expected = np.concatenate(
        [alone / 3 + np.float32([x, y, x, y]) for y in (0, 160, 320) for x in (0, 213, 426)]
    )
    overlaps = iou_matrix(answer.boxes(WBC), expected)
    assert overlaps.shape[0] == overlaps.shape[1] > 0
    assert (overlaps.max(axis=0) > 0.6).all()


async def test_a_scale_that_is_given_is_believed_before_what_the_cells_look_like(detect, field, encode):
    answer = await detect(image=encode(shrunken(field)), um_per_px=0.05)
    assert answer.field.tiles == 1


async def test_a_call_that_runs_out_of_time_ends_then_and_leaves_the_service_well(detect, field, encode):
    large = encode(np.tile(field, (8, 8, 1)), "BMP")
    with pytest.raises(grpc.aio.AioRpcError) as late:
        await detect(image=large, timeout_s=0.3)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert len((await detect(image=encode(field))).detections) > 0


async def test_callers_that_leave_in_the_middle_of_an_answer_leave_their_places_to_others(
    stub, detect, field, encode
):
    request = detector_pb2.DetectRequest(image=encode(field), crop_kinds=[WBC, RBC], crop_size_px=512)
    for _ in range(DetectorSettings().fields_at_once + 2):
        call = stub.Detect(request, timeout=60)
        assert (await call.read()).HasField("field")
        call.cancel()
    assert len((await detect(image=encode(field))).detections) > 0


async def test_an_unknown_model_is_not_found_and_the_message_names_those_that_are(detect, field, encode):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await detect(image=encode(field), model="cat")
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert "yolov8n" in refused.value.details()


@pytest.mark.parametrize("model", ["xception", "ensemble", "vote"])
async def test_a_model_for_another_task_is_no_detection_model(detect, field, encode, model):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await detect(image=encode(field), model=model)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_value_out_of_range_is_refused_by_name(detect, field, encode):
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await detect(image=encode(field), score_threshold=float("nan"))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "score_threshold" in refused.value.details()


async def test_the_models_that_can_be_named_are_listed(stub):
    answer = await stub.ListDetectors(detector_pb2.ListDetectorsRequest(), timeout=30)
    default = next(model for model in answer.models if model.is_default)
    configured = re.search(r"dims: \[ (\d+), \1, 3 \]", (REPOSITORY / "yolov8n" / "config.pbtxt").read_text())
    assert (default.name, default.input_size_px, default.ready) == ("yolov8n", int(configured[1]), True)
    assert default.task == cells_pb2.MODEL_TASK_DETECTION
    assert list(default.kinds) == [WBC, RBC, PLATELET]
    assert default.licence.startswith("AGPL-3.0")
    assert len(default.provenance.sha256) == 64
