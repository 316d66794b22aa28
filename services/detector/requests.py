"""The detector's requests, checked and put into the domain's words."""

from types import MappingProxyType
from typing import Final

from hemaserve.cells import Kind
from hemaserve.v1 import cells_pb2, detector_pb2
from services.detector.crops import CropEncoding, CropOrder
from services.detector.detection import DetectionOrder
from services.runtime.errors import InvalidArgument
from services.runtime.translate import check_number, check_text, kinds_from_proto

DEFAULT_CROP_SIZE_PX: Final = 96
DEFAULT_CROP_MARGIN: Final = 0.15

ENCODING_TO_PROTO: Final = MappingProxyType(
    {encoding: cells_pb2.CropEncoding.Value(f"CROP_ENCODING_{encoding.name}") for encoding in CropEncoding}
)
_ENCODING_FROM_PROTO: Final = {
    cells_pb2.CROP_ENCODING_UNSPECIFIED: CropEncoding.RAW_RGB8,
    **{number: encoding for encoding, number in ENCODING_TO_PROTO.items()},
}


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
    if request.crop_encoding == cells_pb2.CROP_ENCODING_NONE:
        return CropOrder(frozenset(), CropEncoding.RAW_RGB8, size, margin)
    encoding = _ENCODING_FROM_PROTO.get(request.crop_encoding)
    if encoding is None:
        allowed = ", ".join(["NONE", *(encoding.name for encoding in CropEncoding)])
        raise InvalidArgument("crop_encoding", str(request.crop_encoding), allowed)
    return CropOrder(kinds, encoding, size, margin)
