"""From the contract's requests to the domain's orders. Whatever a caller may get wrong is refused here, by its path."""

from collections.abc import Mapping
from typing import Final

from google.protobuf import timestamp_pb2

from hemaserve.cells import Kind
from hemaserve.crops import CropEncoding
from hemaserve.errors import FailedPrecondition, InvalidArgument
from hemaserve.results import Priority
from hemaserve.tally import FieldScreenTally, FieldTally, SlidePosition, TalliedCell
from hemaserve.v1 import gateway_pb2
from services.gateway.detect_cells import DetectionOptions
from services.gateway.located_cells import LocatedCell, RefusedCell
from services.gateway.orders import (
    AnalyzeOptions,
    FieldOrder,
    RefusedField,
    SmearOrder,
)
from services.runtime.translate import (
    box_from_proto,
    check_count,
    check_number,
    check_text,
    kinds_from_proto,
    requested_encoding,
    type_from_proto,
)

TARGETS: Final = (0, 100, 200, 400)
"""Targets that a smear may have; 0 counts all fields."""

MAX_CELLS: Final = 256
"""Located cells in one request, by its contract."""

MAX_TALLIES: Final = 10_000
"""Tallies with which a smear may be opened again."""

MAX_TALLIED_CELLS: Final = 100_000
"""Cells in all these tallies together."""

_MAX_SHORT_TEXT: Final = 64
_UM_PER_PX: Final = (0.02, 1.0)
_MAX_DIAMETER_UM: Final = 1000.0
_FARTHEST_UM: Final = 1e9
"""A kilometre from the stage's origin: no slide is, and squares of it are still exact enough."""
_SECONDS: Final = (-62_135_596_800, 253_402_300_799)
"""Years 1 to 9999, which is what a Timestamp may say by its own contract."""

_PRIORITIES: Final[Mapping[int, Priority]] = {
    gateway_pb2.PRIORITY_UNSPECIFIED: Priority.ROUTINE,
    gateway_pb2.PRIORITY_STAT: Priority.STAT,
    gateway_pb2.PRIORITY_ROUTINE: Priority.ROUTINE,
    gateway_pb2.PRIORITY_BATCH: Priority.BATCH,
}


def field_order(message: gateway_pb2.Field, *, max_image_bytes: int, in_smear: bool = False) -> FieldOrder:
    """One field to look at.

    Raises:
        InvalidArgument: something about it is not allowed; the path begins with `field.`.
    """
    check_text(message.field_id, field="field.field_id", required=in_smear)
    image = message.image
    _check_image(image, "field.image", max_image_bytes)
    acquisition = message.acquisition
    check_text(acquisition.stain, field="field.acquisition.stain", max_chars=_MAX_SHORT_TEXT)
    check_text(acquisition.site_profile, field="field.acquisition.site_profile", max_chars=_MAX_SHORT_TEXT)
    _check_time(acquisition.acquired_at, "field.acquisition.acquired_at")
    position = None
    if acquisition.HasField("stage_position"):
        position = _slide_position(acquisition.stage_position, "field.acquisition.stage_position")
    return FieldOrder(
        field_id=message.field_id,
        image=image,
        sequence=message.sequence,
        um_per_px=_um_per_px(acquisition.um_per_px),
        stage_position=position,
        site_profile=acquisition.site_profile,
    )


def smear_field(
    message: gateway_pb2.AnalyzeSmearRequest, *, max_image_bytes: int
) -> FieldOrder | RefusedField:
    """A field of an open smear. One that can be acknowledged but not analysed comes back as refused.

    Raises:
        FailedPrecondition: the message opens a smear again.
        InvalidArgument: it is no field, or one without a proper id.
    """
    match message.WhichOneof("message"):
        case "field":
            field = message.field
        case "open":
            raise FailedPrecondition("open: the smear is open already", reason="SMEAR_ALREADY_OPEN")
        case _:
            raise InvalidArgument("message", "nothing", "a field")
    check_text(field.field_id, field="field.field_id", required=True)
    try:
        return field_order(field, max_image_bytes=max_image_bytes, in_smear=True)
    except InvalidArgument as error:
        return RefusedField(field.field_id, field.sequence, field.image, error)


def smear_order(message: gateway_pb2.AnalyzeSmearRequest) -> SmearOrder:
    """The smear that the first message of a stream opens.

    Raises:
        FailedPrecondition: the first message does not open a smear.
        InvalidArgument: something about it is not allowed; the path begins with `open.`.
    """
    if message.WhichOneof("message") != "open":
        raise FailedPrecondition("the first message must be `open`", reason="SMEAR_NOT_OPEN")
    opened = message.open
    if opened.target not in TARGETS:
        raise InvalidArgument("open.target", str(opened.target), ", ".join(map(str, TARGETS)))
    check_count(len(opened.received), field="open.received", most=MAX_TALLIES)
    tallied = sum(len(tally.cells) for tally in opened.received)
    check_count(tallied, field="open.received.cells", most=MAX_TALLIED_CELLS)
    return SmearOrder(
        smear_id=check_text(opened.smear_id, field="open.smear_id", required=True),
        specimen=check_text(opened.specimen, field="open.specimen", max_chars=_MAX_SHORT_TEXT),
        target=opened.target,
        priority=priority(opened.priority, field="open.priority"),
        options=analyze_options(opened.options, path="open.options"),
        received=tuple(
            _tally(tally, f"open.received[{index}]") for index, tally in enumerate(opened.received)
        ),
    )


def analyze_options(message: gateway_pb2.AnalyzeOptions, *, path: str) -> AnalyzeOptions:
    """What to do with fields.

    Raises:
        InvalidArgument: something about it is not allowed.
    """
    kinds = kinds_from_proto(message.kinds, field=f"{path}.kinds", default=[Kind.WBC])
    if message.screen and Kind.WBC not in kinds:
        # The screen of cells would silently see none.
        found = ", ".join(kind.value for kind in Kind if kind in kinds)
        raise InvalidArgument(f"{path}.kinds", found, "wbc among them, where `screen` is asked for")
    return AnalyzeOptions(
        model=check_text(message.model, field=f"{path}.model"),
        detector_model=check_text(message.detector_model, field=f"{path}.detector_model"),
        kinds=kinds,
        screen=message.screen,
        crop_encoding=requested_encoding(
            message.crop_encoding, field=f"{path}.crop_encoding", default=CropEncoding.NONE
        ),
    )


def detection_options(message: gateway_pb2.DetectCellsRequest) -> DetectionOptions:
    """What to report of a field whose cells are wanted unnamed.

    Raises:
        InvalidArgument: something about it is not allowed.
    """
    threshold = message.score_threshold if message.HasField("score_threshold") else None
    if threshold is not None and not 0 < threshold <= 1:
        raise InvalidArgument("score_threshold", f"{threshold:g}", "above 0 and at most 1")
    return DetectionOptions(
        detector_model=check_text(message.detector_model, field="detector_model"),
        kinds=kinds_from_proto(message.kinds, field="kinds", default=Kind),
        crop_encoding=requested_encoding(
            message.crop_encoding, field="crop_encoding", default=CropEncoding.NONE
        ),
        score_threshold=threshold,
    )


def located_cells(
    message: gateway_pb2.ClassifyCellsRequest, *, max_image_bytes: int
) -> list[LocatedCell | RefusedCell]:
    """The cells of one request. One that can be answered but not classified comes back as refused.

    Raises:
        InvalidArgument: there are too many of them, or one has too long an id.
    """
    check_count(len(message.cells), field="cells", most=MAX_CELLS)
    return [
        _located_cell(cell, f"cells[{index}]", max_image_bytes) for index, cell in enumerate(message.cells)
    ]


def cell_to_explain(
    message: gateway_pb2.ExplainCellRequest, *, max_image_bytes: int
) -> LocatedCell | RefusedCell:
    """The cell that is to be explained; what is wrong with it comes back as a refusal.

    Raises:
        InvalidArgument: it has too long an id.
    """
    return _located_cell(message.cell, "cell", max_image_bytes)


def _located_cell(
    message: gateway_pb2.LocatedCell, path: str, max_image_bytes: int
) -> LocatedCell | RefusedCell:
    cell_id = check_text(message.cell_id, field=f"{path}.cell_id")
    try:
        _check_image(message.image, f"{path}.image", max_image_bytes)
        box = box_from_proto(message.box, field=f"{path}.box") if message.HasField("box") else None
    except InvalidArgument as error:
        return RefusedCell(cell_id, error)
    return LocatedCell(cell_id, message.image, box, path)


def model_name(name: str) -> str:
    """The classification model that a request names.

    Raises:
        InvalidArgument: no model has so long a name.
    """
    return check_text(name, field="model")


def site_profile_name(name: str) -> str:
    """The site profile that a request names.

    Raises:
        InvalidArgument: no profile has so long a name.
    """
    return check_text(name, field="site_profile", max_chars=_MAX_SHORT_TEXT)


def priority(number: int, *, field: str = "priority") -> Priority:
    """An order of service.

    Raises:
        InvalidArgument: there is no such priority.
    """
    if number not in _PRIORITIES:
        allowed = ", ".join(priority.name for priority in Priority)
        raise InvalidArgument(field, str(number), allowed)
    return _PRIORITIES[number]


def _check_image(image: bytes, path: str, max_bytes: int) -> None:
    if not image:
        raise InvalidArgument(path, "no bytes", "an image file", reason="IMAGE_EMPTY")
    if len(image) > max_bytes:
        raise InvalidArgument(
            path, f"{len(image)} bytes", f"at most {max_bytes} bytes", reason="IMAGE_TOO_LARGE"
        )


def _um_per_px(value: float) -> float | None:
    if value == 0:
        return None
    low, high = _UM_PER_PX
    # The contract's 0.02 is a float32, which is a little less than 0.02.
    if not low * (1 - 1e-6) <= value <= high:
        raise InvalidArgument("field.acquisition.um_per_px", f"{value:g}", f"0, or {low:g} to {high:g}")
    return value


def _slide_position(message: gateway_pb2.StagePosition, path: str) -> SlidePosition:
    for name, value in (("x_um", message.x_um), ("y_um", message.y_um)):
        check_number(value, field=f"{path}.{name}", low=-_FARTHEST_UM, high=_FARTHEST_UM)
    return SlidePosition(message.x_um, message.y_um)


def _check_time(message: timestamp_pb2.Timestamp, path: str) -> None:
    check_number(message.seconds, field=f"{path}.seconds", low=_SECONDS[0], high=_SECONDS[1])
    check_number(message.nanos, field=f"{path}.nanos", low=0, high=999_999_999)


def _tally(message: gateway_pb2.FieldTally, path: str) -> FieldTally:
    return FieldTally(
        field_id=check_text(message.field_id, field=f"{path}.field_id", required=True),
        sequence=message.sequence,
        cells=tuple(_tallied(cell, f"{path}.cells[{index}]") for index, cell in enumerate(message.cells)),
        failed=message.failed,
        degraded=message.degraded,
        image_sha256=check_text(message.image_sha256, field=f"{path}.image_sha256", max_chars=64),
        screen=_screen_tally(message.screen, f"{path}.screen") if message.HasField("screen") else None,
        classifier=check_text(message.classifier, field=f"{path}.classifier"),
    )


def _screen_tally(message: gateway_pb2.FieldScreenTally, path: str) -> FieldScreenTally:
    flagged, screened = message.cells_flagged, message.cells_screened
    if flagged > screened:
        raise InvalidArgument(f"{path}.cells_flagged", f"{flagged} of {screened}", "at most cells_screened")
    return FieldScreenTally(message.field_flagged, flagged, screened)


def _tallied(message: gateway_pb2.TalliedCell, path: str) -> TalliedCell:
    return TalliedCell(
        cell_type=type_from_proto(message.type),
        identified=message.identified,
        position=_slide_position(message.position, f"{path}.position")
        if message.HasField("position")
        else None,
        diameter_um=check_number(
            message.diameter_um, field=f"{path}.diameter_um", low=0.0, high=_MAX_DIAMETER_UM
        ),
    )
