"""Keeps out of logs and errors what says whose blood it is: one mechanism, which no other code has to remember.

The contract marks the fields that say so (`debug_redact`). Each call's requests tell their values as they are read, and
`redact` takes these values out of every text that leaves while the call is served: of each log record, tracebacks
included, and of each error's message and details. What is written of a message or of bytes as such is taken out by its
shape, whoever's it is. Spans pass their attributes through `redacted`, as log records do.

Code still does not put such values into texts; this is for the day when something does, such as a library's exception.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from functools import cache
from typing import Any, Final

from google.protobuf import text_encoding, text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.message import Message

from hemaserve.v1 import cells_pb2, classifier_pb2, detector_pb2, gateway_pb2

CONTRACT: Final[tuple[FileDescriptor, ...]] = (
    gateway_pb2.DESCRIPTOR,
    detector_pb2.DESCRIPTOR,
    classifier_pb2.DESCRIPTOR,
    cells_pb2.DESCRIPTOR,
)

REDACTED: Final = "[redacted]"

MIN_CHARS: Final = 4
"""Shorter values are left alone: a "1" tells nobody whose blood it is, and is in every text."""

_OURS_IN_A_RECORD: Final = frozenset({"timestamp", "level", "service", "trace_id", "span_id"})
"""Keys of a log record that logging itself fills."""

_PLAIN: Final = re.compile(r"[\w .:/-]*", re.ASCII)
"""Values of these characters have one spelling wherever they are quoted."""


class SensitiveValues:
    """What the requests of one call said in marked fields."""

    def __init__(self) -> None:
        self._spellings: set[str] = set()

    def note(self, message: Message) -> None:
        """Remember the marked texts of a request."""
        for value in marked_texts(message):
            if len(value) >= MIN_CHARS and value not in self._spellings:
                self._spellings.update(_spellings(value))

    def taken_out_of(self, text: str) -> str:
        """`text` with `REDACTED` in place of each value."""
        found = [spelling for spelling in self._spellings if spelling in text]
        if not found:
            return text
        # The longest first: a value may be a part of another.
        longest_first = sorted(found, key=len, reverse=True)
        return re.sub("|".join(map(re.escape, longest_first)), REDACTED, text)


_of_this_call: Final[ContextVar[SensitiveValues | None]] = ContextVar("sensitive_values", default=None)


def begin_call() -> None:
    """From here on, this task and those that it starts serve one call."""
    _of_this_call.set(SensitiveValues())


def note(message: Message) -> None:
    """Remember what a request of the call at hand says in marked fields."""
    values = _of_this_call.get()
    if values is not None:
        values.note(message)


def redact(text: str) -> str:
    """`text` without what the call at hand carries in marked fields, and without messages' marked fields and bytes."""
    values = _of_this_call.get()
    if values is not None:
        text = values.taken_out_of(text)
    return _shapes().sub(lambda match: f"{match['name'] or ''}{REDACTED}", text)


def redacted(value: Any) -> Any:
    """The same of anything that a log record or a span may carry: texts, messages, bytes, and what holds them."""
    match value:
        case str():
            return redact(value)
        case bool() | int() | float() | None:
            return value
        case bytes() | bytearray() | memoryview():
            return f"{len(value)} bytes"
        case Message():
            return redact(text_format.MessageToString(value, as_one_line=True))
        case Mapping():
            return {key: redacted(inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [redacted(inner) for inner in value]
        case _:
            return redact(repr(value))


def redact_record(_logger: Any, _method: str, record: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """structlog's processor: the last before the renderer, when tracebacks are text already."""
    for key, value in record.items():
        if key not in _OURS_IN_A_RECORD:
            record[key] = redacted(value)
    return record


def is_marked(field: FieldDescriptor) -> bool:
    """Whether the contract marks the field as telling, or showing, whose blood it is."""
    return bool(field.GetOptions().debug_redact)


def marked_texts(message: Message) -> Iterator[str]:
    """What a message and those in it say in marked fields of texts."""
    texts, messages = _ways(message.DESCRIPTOR)
    for name, repeated in texts:
        value = getattr(message, name)
        yield from value if repeated else (value,)
    for name, repeated in messages:
        if repeated:
            for inner in getattr(message, name):
                yield from marked_texts(inner)
        elif message.HasField(name):
            yield from marked_texts(getattr(message, name))


_Way = tuple[str, bool]


@cache
def _ways(descriptor: Descriptor) -> tuple[list[_Way], list[_Way]]:
    """The marked fields of texts, and the fields of messages that lead to such; each with whether it is repeated."""
    texts = [
        (field.name, field.is_repeated)
        for field in descriptor.fields
        if is_marked(field) and field.type == FieldDescriptor.TYPE_STRING
    ]
    messages = [
        (field.name, field.is_repeated)
        for field in descriptor.fields
        if field.message_type is not None and any(_ways(field.message_type))
    ]
    return texts, messages


def _spellings(value: str) -> set[str]:
    """The value as it is, and as Python, JSON and protobuf's text format write it between quotes."""
    if _PLAIN.fullmatch(value):
        return {value}
    return {
        value,
        repr(value)[1:-1],
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        text_encoding.CEscape(value.encode(), False),
        text_encoding.CEscape(value.encode(), True),
    }


@cache
def _shapes() -> re.Pattern[str]:
    """Marked fields in protobuf's text format, whatever message they are of, and Python's bytes."""
    names = {
        field.name
        for file in CONTRACT
        for message in file.message_types_by_name.values()
        for field in message.fields
        if is_marked(field)
    }
    quoted = r"""(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    return re.compile(rf"(?P<name>\b(?:{'|'.join(sorted(names))}): ){quoted}|\bb{quoted}")
