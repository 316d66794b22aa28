"""The detector's requests, checked and put into the domain's words."""

from typing import Final

from hemaserve.cells import Kind
from hemaserve.crops import CropEncoding
from hemaserve.v1 import detector_pb2
from services.detector.crops import CropOrder
from services.detector.detection import DetectionOrder
from services.runtime.errors import InvalidArgument
from services.runtime.translate import check_number, check_text, kinds_from_proto, requested_encoding

DEFAULT_CROP_SIZE_PX: Final = 96
DEFAULT_CROP_MARGIN: Final = 0.15


def read_order(request: detector_pb2.DetectRequest) -> DetectionOrder:
    """What a request asks for; its image is left to the decoder.

    Raises:
        InvalidArgument: names the field that is out of range.
    """
    # A float32 0.02 is a little less than 0.02.
    scale, threshold = round(request.um_per_px, 6), None
    if scale:
        check_number(scale, field="um_per_px", low=0.02, high=1)
    if request.HasField("score_threshold"):
        threshold = check_number(request.score_threshold, field="score_threshold", low=0, high=1)
        if threshold == 0:
            raise InvalidArgument("score_threshold", "0", "above 0 and at most 1")
    kinds = kinds_from_proto(request.kinds, field="kinds", default=())
    return DetectionOrder(
        model=check_text(request.model, field="model"),
        um_per_px=scale or None,
        kinds=kinds or None,
        score_threshold=threshold,
        crops=_crop_order(request),
    )


def _crop_order(request: detector_pb2.DetectRequest) -> CropOrder:
    kinds = kinds_from_proto(request.crop_kinds, field="crop_kinds", default=(Kind.WBC,))
    size = request.crop_size_px or DEFAULT_CROP_SIZE_PX
    margin = request.crop_margin if request.HasField("crop_margin") else DEFAULT_CROP_MARGIN
    check_number(size, field="crop_size_px", low=16, high=512)
    check_number(margin, field="crop_margin", low=0, high=2)
    encoding = requested_encoding(request.crop_encoding, field="crop_encoding", default=CropEncoding.RAW_RGB8)
    if encoding is CropEncoding.NONE:
        kinds = frozenset()
    return CropOrder(kinds, encoding, size, margin)
