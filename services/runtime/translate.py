"""Protobuf's words for the domain's: what more than one service translates."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Final

from hemaserve.cells import CellType, Kind
from hemaserve.crops import CropEncoding
from hemaserve.errors import InvalidArgument
from hemaserve.geometry import Box
from hemaserve.v1 import cells_pb2

_KIND_TO_PROTO: Final = {kind: cells_pb2.CellKind.Value(f"CELL_KIND_{kind.name}") for kind in Kind}
_KIND_FROM_PROTO: Final = {number: kind for kind, number in _KIND_TO_PROTO.items()}
_TYPE_TO_PROTO: Final = {
    cell_type: cells_pb2.CellType.Value(f"CELL_TYPE_{cell_type.name}") for cell_type in CellType
}
_TYPE_FROM_PROTO: Final = {number: cell_type for cell_type, number in _TYPE_TO_PROTO.items()}
_ENCODING_TO_PROTO: Final = {
    encoding: cells_pb2.CropEncoding.Value(f"CROP_ENCODING_{encoding.name}") for encoding in CropEncoding
}
_ENCODING_FROM_PROTO: Final = {number: encoding for encoding, number in _ENCODING_TO_PROTO.items()}

MAX_NAME_CHARS: Final = 128
MAX_KINDS: Final = 16
"""Entries in a list of kinds; there are fewer kinds than that, and naming one twice is harmless."""

FARTHEST_PX: Final = 1e6
"""No image that is accepted reaches as far, whatever the settings."""

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What could break a line of a log or of a terminal."""


def kind_to_proto(kind: Kind) -> cells_pb2.CellKind.ValueType:
    return _KIND_TO_PROTO[kind]


def kind_from_proto(number: int) -> Kind | None:
    """The kind, or None for UNSPECIFIED and for values of a newer contract."""
    return _KIND_FROM_PROTO.get(cells_pb2.CellKind.ValueType(number))


def kinds_from_proto(numbers: Sequence[int], *, field: str, default: Iterable[Kind]) -> frozenset[Kind]:
    """Kinds that a request names, or `default` when it names none.

    Raises:
        InvalidArgument: one of them is not a kind, or there are far too many.
    """
    check_count(len(numbers), field=field, most=MAX_KINDS)
    kinds = set()
    for index, number in enumerate(numbers):
        kind = kind_from_proto(number)
        if kind is None:
            raise InvalidArgument(f"{field}[{index}]", str(number), ", ".join(kind.value for kind in Kind))
        kinds.add(kind)
    return frozenset(kinds or default)


def encoding_to_proto(encoding: CropEncoding) -> cells_pb2.CropEncoding.ValueType:
    return _ENCODING_TO_PROTO[encoding]


def encoding_from_proto(number: int, *, default: CropEncoding) -> CropEncoding | None:
    """The encoding, `default` for UNSPECIFIED, or None for values of a newer contract."""
    if number == cells_pb2.CROP_ENCODING_UNSPECIFIED:
        return default
    return _ENCODING_FROM_PROTO.get(cells_pb2.CropEncoding.ValueType(number))


def requested_encoding(number: int, *, field: str, default: CropEncoding) -> CropEncoding:
    """The encoding that a request asks for, or `default` when it says nothing.

    Raises:
        InvalidArgument: there is no such encoding.
    """
    encoding = encoding_from_proto(number, default=default)
    if encoding is None:
        raise InvalidArgument(field, str(number), ", ".join(known.name for known in CropEncoding))
    return encoding


def type_to_proto(cell_type: CellType | None) -> cells_pb2.CellType.ValueType:
    """The number of a type; UNSPECIFIED for None."""
    return cells_pb2.CELL_TYPE_UNSPECIFIED if cell_type is None else _TYPE_TO_PROTO[cell_type]


def type_from_proto(number: int) -> CellType | None:
    """The type, or None for UNSPECIFIED and for values of a newer contract."""
    return _TYPE_FROM_PROTO.get(cells_pb2.CellType.ValueType(number))


def requested_type(number: int, *, field: str) -> CellType | None:
    """The type that a request names, or None when it names none.

    Raises:
        InvalidArgument: there is no such type.
    """
    cell_type = type_from_proto(number)
    if cell_type is None and number != cells_pb2.CELL_TYPE_UNSPECIFIED:
        raise InvalidArgument(field, str(number), ", ".join(CellType))
    return cell_type


def box_to_proto(box: Box) -> cells_pb2.Box:
    return cells_pb2.Box(x0_px=box.x0, y0_px=box.y0, x1_px=box.x1, y1_px=box.y1)


def box_from_proto(message: cells_pb2.Box, *, field: str) -> Box:
    """A box that a request carries.

    Raises:
        InvalidArgument: it is empty, turned round, negative, not finite or beyond any image.
    """
    check_edges(message, field=field)
    box = Box(message.x0_px, message.y0_px, message.x1_px, message.y1_px)
    sides = (box.x0, box.y0, box.x1, box.y1)
    if box.x0 < 0 or box.y0 < 0 or box.width <= 0 or box.height <= 0:
        found = ", ".join(f"{side:g}" for side in sides)
        raise InvalidArgument(field, found, "0 <= x0_px < x1_px and 0 <= y0_px < y1_px")
    return box


def check_text(text: str, *, field: str, max_chars: int = MAX_NAME_CHARS, required: bool = False) -> str:
    """`text`, when it is short enough, without control characters and, where required, not empty.

    Raises:
        InvalidArgument: it is not.
    """
    if len(text) > max_chars:
        raise InvalidArgument(field, f"{len(text)} characters", f"at most {max_chars}")
    if required and not text:
        raise InvalidArgument(field, "nothing", f"1 to {max_chars} characters")
    if control := _CONTROL.search(text):
        raise InvalidArgument(
            field, f"the character U+{ord(control[0]):04X}", "text without control characters"
        )
    return text


def check_count(count: int, *, field: str, most: int) -> None:
    """Return when a repeated field has no more entries than it may have.

    Raises:
        InvalidArgument: it has.
    """
    if count > most:
        raise InvalidArgument(field, f"{count} entries", f"at most {most}")


def check_edges(message: cells_pb2.Box, *, field: str) -> None:
    """Return when a box that is only handed back has edges that some image could have.

    Raises:
        InvalidArgument: one of them is not finite, or farther away than any image reaches.
    """
    for name in ("x0_px", "y0_px", "x1_px", "y1_px"):
        check_number(getattr(message, name), field=f"{field}.{name}", low=-FARTHEST_PX, high=FARTHEST_PX)


def check_number(value: float, *, field: str, low: float, high: float) -> float:
    """`value`, when it is finite and from `low` to `high`.

    Raises:
        InvalidArgument: it is not.
    """
    if not (math.isfinite(value) and low <= value <= high):
        raise InvalidArgument(field, f"{value:g}", f"{low:g} to {high:g}")
    return value
