"""Requests with one absurd value each, found by walking the contract: a new field gets its own without being asked."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.message import Message

from hemaserve.v1 import cells_pb2, classifier_pb2, detector_pb2, gateway_pb2

SERVICES: Final = (
    gateway_pb2.DESCRIPTOR.services_by_name["SmearService"],
    detector_pb2.DESCRIPTOR.services_by_name["DetectorService"],
    classifier_pb2.DESCRIPTOR.services_by_name["ClassifierService"],
)

LENIENT: Final = {
    "AnalyzeSmear": {
        "open.received.cells.type": "a tally of a newer gateway may know more types; such cells are unidentified",
    }
}
"""Fields in which an unknown value is no mistake, by method, and why."""

_REAL = (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE)
_ENTRIES: Final = 200_000
_TEXTS: Final = ("x" * 5000, "line\nbreak", "nothing\0more", "\x1b[2J")
_NUMBERS: Final = (math.nan, math.inf, -math.inf, 1e30, -1e30)
_SOUND: Final[dict[str, Any]] = {
    "field_id": "f",
    "smear_id": "s",
    "x0_px": 1,
    "y0_px": 1,
    "x1_px": 30,
    "y1_px": 30,
}
"""What a message on the way to the absurd value must say to be sound otherwise."""


@dataclass(frozen=True, slots=True)
class AbsurdRequest:
    """A request that is sound but for one value.

    Attributes:
        method: which RPC it is for.
        path: the field with the absurd value, without places in lists.
        value: what is absurd about it.
        request: the message.
    """

    method: str
    path: str
    value: str
    request: Message


def examples(image: bytes, crop_side: int = 32) -> dict[str, list[Any]]:
    """Sound requests by method, which fill in all that is required; every method that takes anything has some."""
    field = gateway_pb2.Field(field_id="f", image=image)
    crop = cells_pb2.Crop(
        size_px=crop_side, encoding=cells_pb2.CROP_ENCODING_RAW_RGB8, data=bytes([200]) * (3 * crop_side**2)
    )
    cell = classifier_pb2.CellToClassify(crop=crop)
    return {
        "AnalyzeField": [gateway_pb2.AnalyzeFieldRequest(field=field)],
        "AnalyzeSmear": [
            gateway_pb2.AnalyzeSmearRequest(open=gateway_pb2.OpenSmear(smear_id="s")),
            gateway_pb2.AnalyzeSmearRequest(field=field),
        ],
        "DetectCells": [gateway_pb2.DetectCellsRequest(field=field)],
        "ClassifyCells": [
            gateway_pb2.ClassifyCellsRequest(cells=[gateway_pb2.LocatedCell(cell_id="c", image=image)])
        ],
        "ExplainCell": [
            gateway_pb2.ExplainCellRequest(cell=gateway_pb2.LocatedCell(cell_id="c", image=image))
        ],
        "Detect": [detector_pb2.DetectRequest(image=image)],
        "Classify": [classifier_pb2.ClassifyRequest(cells=[cell])],
        "Explain": [classifier_pb2.ExplainRequest(cell=cell)],
        "ScreenCells": [classifier_pb2.ScreenCellsRequest(cells=[cell])],
        "ScreenField": [classifier_pb2.ScreenFieldRequest(image=image)],
    }


def methods() -> list[MethodDescriptor]:
    """All methods whose requests say anything."""
    return [method for service in SERVICES for method in service.methods if method.input_type.fields]


def absurd_requests(examples_of: dict[str, list[Any]], *, too_many_bytes: int) -> Iterator[AbsurdRequest]:
    """One request for each absurd value of each field of each method; fields with nothing absurd have none.

    Args:
        examples_of: see `examples`.
        too_many_bytes: more than any field of bytes may have.
    """
    for method in methods():
        for way in _ways(method.input_type):
            example = _example(examples_of[method.name], way[0])
            path = ".".join(field.name for field in way)
            for value, shown in _absurd_values(way[-1], too_many_bytes):
                request = type(example)()
                request.CopyFrom(example)
                _put(request, way, value)
                yield AbsurdRequest(method.name, path, shown, request)


def _ways(descriptor: Descriptor) -> Iterator[Sequence[FieldDescriptor]]:
    """The ways from a message to each of its fields, however deep."""
    for field in descriptor.fields:
        yield (field,)
        if field.message_type is not None:
            for rest in _ways(field.message_type):
                yield (field, *rest)


def _example(candidates: list[Any], first: FieldDescriptor) -> Any:
    """The one that has what the way goes through, where only one of several may be there."""
    if first.containing_oneof is None or first.containing_oneof.name.startswith("_"):
        return candidates[0]
    return next(candidate for candidate in candidates if candidate.HasField(first.name))


def _absurd_values(field: FieldDescriptor, too_many_bytes: int) -> Iterator[tuple[Any, str]]:
    if _repeated(field):
        yield _many(field), f"{_ENTRIES} entries"
    elif field.type == FieldDescriptor.TYPE_STRING:
        yield from ((text, repr(text[:20])) for text in _TEXTS)
    elif field.type == FieldDescriptor.TYPE_BYTES:
        yield bytes(too_many_bytes), f"{too_many_bytes} bytes"
    elif field.type == FieldDescriptor.TYPE_ENUM:
        yield 99, "99"
    elif field.type in _REAL:
        yield from ((number, f"{number:g}") for number in _NUMBERS)


def _many(field: FieldDescriptor) -> list[Any]:
    if field.message_type is not None:
        return [message_factory.GetMessageClass(field.message_type)()] * _ENTRIES
    return ["x" if field.type == FieldDescriptor.TYPE_STRING else 1] * _ENTRIES


def _repeated(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)


def _put(message: Any, way: Sequence[FieldDescriptor], value: Any) -> None:
    for field in way[:-1]:
        message = _entered(message, field)
    last = way[-1]
    if _repeated(last):
        message.ClearField(last.name)
        getattr(message, last.name).extend(value)
    else:
        setattr(message, last.name, value)


def _entered(message: Any, field: FieldDescriptor) -> Any:
    inner = getattr(message, field.name)
    if _repeated(field):
        inner = inner[0] if inner else inner.add()
    else:
        inner.SetInParent()
    for known in inner.DESCRIPTOR.fields:
        if known.name in _SOUND and not getattr(inner, known.name):
            setattr(inner, known.name, _SOUND[known.name])
    return inner
