"""DetectorService: protobuf on one side, the domain on the other."""

from collections.abc import AsyncIterator, Sequence
from importlib.metadata import version
from typing import Any, Final

import grpc.aio

from hemaserve.cells import Kind
from hemaserve.imaging import PREPROCESSING_VERSION
from hemaserve.v1 import cells_pb2, detector_pb2, detector_pb2_grpc
from services.detector.crops import CropOrder
from services.detector.detection import Cut, DetectedField, Detector
from services.detector.models import DetectionModel, ModelCatalog
from services.detector.requests import read_order
from services.runtime.caller import enter_behind_door
from services.runtime.remote import Deadline, remaining_s
from services.runtime.translate import encoding_to_proto, kind_to_proto

Context = grpc.aio.ServicerContext[Any, Any]

SOFTWARE_VERSION: Final = version("hemaserve")


class DetectorServicer(detector_pb2_grpc.DetectorServiceServicer):
    """Finds the cells of fields.

    Args:
        default_timeout_s: time for a call without a deadline.
        chunk_bytes: size at which a message of the answer is sent off.
    """

    def __init__(
        self, detector: Detector, catalog: ModelCatalog, *, default_timeout_s: float, chunk_bytes: int
    ) -> None:
        self._detector = detector
        self._catalog = catalog
        self._default_timeout_s = default_timeout_s
        self._chunk_bytes = chunk_bytes

    async def Detect(
        self, request: detector_pb2.DetectRequest, context: Context
    ) -> AsyncIterator[detector_pb2.DetectResponse]:
        """Finds the cells of one field."""
        enter_behind_door(context)
        order = read_order(request)
        deadline = Deadline(remaining_s(context, self._default_timeout_s))
        async with self._detector.detect(request.image, order, deadline) as found:
            yield detector_pb2.DetectResponse(field=_field_info(found))
            async for chunk in self._detector.cut(found, order.crops, chunk_bytes=self._chunk_bytes):
                yield _chunk(chunk, order.crops)

    async def ListDetectors(
        self,
        request: detector_pb2.ListDetectorsRequest,  # noqa: ARG002 - it is empty
        context: Context,  # noqa: ARG002
    ) -> detector_pb2.ListDetectorsResponse:
        """The detection models that can be named in a request."""
        return detector_pb2.ListDetectorsResponse(
            models=[
                _model(model, ready=await self._catalog.ready(model.name), default=self._catalog.default)
                for model in await self._catalog.all()
            ]
        )


def _field_info(found: DetectedField) -> detector_pb2.FieldInfo:
    thresholds = found.thresholds
    return detector_pb2.FieldInfo(
        width_px=found.field.width,
        height_px=found.field.height,
        tiles=found.pieces,
        detections=len(found.detections),
        image_sha256=found.field.sha256,
        provenance=cells_pb2.Provenance(
            detector=_provenance(found.model),
            preprocessing_version=PREPROCESSING_VERSION,
            # A kind that was not asked for was dropped whatever its score.
            score_thresholds=[thresholds.get(kind, 1.0) for kind in Kind],
            software_version=SOFTWARE_VERSION,
        ),
    )


def _chunk(chunk: Sequence[Cut], order: CropOrder) -> detector_pb2.DetectResponse:
    # Filled in where it is: a field has dozens of boxes, and messages that are made on their own are not free
    # (see `services.classifier.translate`).
    response = detector_pb2.DetectResponse()
    for cut in chunk:
        found, box = cut.detection, cut.detection.box
        detection = response.detections.add(
            cell_id=found.cell_id, kind=kind_to_proto(found.kind), score=found.score
        )
        detection.box.x0_px, detection.box.y0_px = box.x0, box.y0
        detection.box.x1_px, detection.box.y1_px = box.x1, box.y1
        if cut.crop is not None:
            response.crops.add(
                cell_id=found.cell_id,
                size_px=order.size_px,
                encoding=encoding_to_proto(order.encoding),
                data=cut.crop,
            )
    return response


def _model(model: DetectionModel, *, ready: bool, default: str) -> cells_pb2.Model:
    return cells_pb2.Model(
        name=model.name,
        title=model.title,
        task=cells_pb2.MODEL_TASK_DETECTION,
        provenance=_provenance(model),
        ready=ready,
        is_default=model.name == default,
        input_size_px=model.input_px,
        kinds=[kind_to_proto(kind) for kind in model.kinds],
        licence=model.licence,
    )


def _provenance(model: DetectionModel) -> cells_pb2.ModelProvenance:
    return cells_pb2.ModelProvenance(name=model.name, version=model.version, sha256=model.sha256)
