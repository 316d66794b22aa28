"""Writes docs/api.md from the protos and their comments; with --check, tells whether it is current.

    python scripts/api_reference.py [--check]

Needs `buf`, from the extra `dev`.
"""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    MethodDescriptorProto,
    ServiceDescriptorProto,
)
from google.protobuf.message import Message

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "api.md"
FILES = ("gateway", "detector", "classifier", "cells")

INTRODUCTION = """\
# API reference

The contract of HemaServe: package `hemaserve.v1`, proto3 over gRPC. Clients talk to
[SmearService](#smearservice); the other services stand behind it.

Written by `scripts/api_reference.py` from `protos/hemaserve/v1`; change it there.
"""

EXTERNAL = {
    "google.protobuf.Timestamp": "https://protobuf.dev/reference/protobuf/google.protobuf/#timestamp",
    "google.rpc.Status": "https://github.com/googleapis/googleapis/blob/master/google/rpc/status.proto",
}

Location = tuple[int, ...]
"""Where something is in a proto file, as `SourceCodeInfo` counts it."""


def _number(message: type[Message], field: str) -> int:
    """A field's number in the descriptor's own schema: what paths of source locations are made of."""
    return int(message.DESCRIPTOR.fields_by_name[field].number)


MESSAGES = _number(FileDescriptorProto, "message_type")
ENUMS = _number(FileDescriptorProto, "enum_type")
SERVICES = _number(FileDescriptorProto, "service")
SYNTAX = _number(FileDescriptorProto, "syntax")
FIELDS = _number(DescriptorProto, "field")
ONEOFS = _number(DescriptorProto, "oneof_decl")
VALUES = _number(EnumDescriptorProto, "value")
METHODS = _number(ServiceDescriptorProto, "method")


def descriptors() -> FileDescriptorSet:
    """The protos with their comments, as buf compiles them."""
    beside_python = Path(sys.executable).with_name("buf")
    buf = str(beside_python) if beside_python.exists() else shutil.which("buf")
    if buf is None:
        raise SystemExit("buf is missing: pip install 'hemaserve[dev]'")
    command = [buf, "build", "--as-file-descriptor-set", "-o", "-#format=binpb"]
    image = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout
    return FileDescriptorSet.FromString(image)


@dataclass(frozen=True)
class Source:
    """A proto file and the comments in it."""

    file: FileDescriptorProto
    comments: dict[Location, str]

    @classmethod
    def of(cls, file: FileDescriptorProto) -> "Source":
        locations = file.source_code_info.location
        return cls(file, {tuple(at.path): " ".join(at.leading_comments.split()) for at in locations})

    def comment(self, *path: int) -> str:
        return self.comments.get(path, "")


def reference() -> str:
    """The whole page."""
    by_name = {file.name: Source.of(file) for file in descriptors().file}
    sources = [by_name[f"hemaserve/v1/{name}.proto"] for name in FILES]
    lines = [INTRODUCTION]
    for source in sources:
        lines += _file(source)
    return "\n".join(lines).rstrip() + "\n"


def _file(source: Source) -> Iterator[str]:
    yield f"## {Path(source.file.name).name}\n"
    yield source.comment(SYNTAX) + "\n"
    for index, service in enumerate(source.file.service):
        yield from _service(source, index, service)
    for index, message in enumerate(source.file.message_type):
        yield from _message(source, index, message)
    for index, enum in enumerate(source.file.enum_type):
        yield from _enum(source, index, enum)


def _service(source: Source, index: int, service: ServiceDescriptorProto) -> Iterator[str]:
    yield f"### {service.name}\n"
    yield source.comment(SERVICES, index) + "\n"
    yield "| RPC | Request | Response | Meaning |"
    yield "|---|---|---|---|"
    for number, method in enumerate(service.method):
        request, response = _ends(method)
        comment = _cell(source.comment(SERVICES, index, METHODS, number))
        yield f"| `{method.name}` | {request} | {response} | {comment} |"
    yield ""


def _ends(method: MethodDescriptorProto) -> tuple[str, str]:
    request, response = _link(method.input_type), _link(method.output_type)
    return (
        f"stream of {request}" if method.client_streaming else request,
        f"stream of {response}" if method.server_streaming else response,
    )


def _message(source: Source, index: int, message: DescriptorProto) -> Iterator[str]:
    yield f"### {message.name}\n"
    yield source.comment(MESSAGES, index) + "\n"
    if not message.field:
        yield "No fields.\n"
        return
    for number, oneof in enumerate(message.oneof_decl):
        # A proto3 `optional` field is compiled to a oneof of its own, which nobody wrote.
        if any(field.oneof_index == number and _in_oneof(field) for field in message.field):
            yield f"One of `{oneof.name}`: {source.comment(MESSAGES, index, ONEOFS, number)}\n"
    yield "| Field | Type | Label | No. | Meaning |"
    yield "|---|---|---|---|---|"
    for number, field in enumerate(message.field):
        comment = _cell(source.comment(MESSAGES, index, FIELDS, number))
        if field.options.debug_redact:
            comment += " *Sensitive.*"
        label = _label(message, field)
        yield f"| `{field.name}` | {_type(field)} | {label} | {field.number} | {comment} |"
    yield ""


def _enum(source: Source, index: int, enum: EnumDescriptorProto) -> Iterator[str]:
    yield f"### {enum.name}\n"
    yield source.comment(ENUMS, index) + "\n"
    yield "| Value | No. | Meaning |"
    yield "|---|---|---|"
    for number, value in enumerate(enum.value):
        yield f"| `{value.name}` | {value.number} | {_cell(source.comment(ENUMS, index, VALUES, number))} |"
    yield ""


def _in_oneof(field: FieldDescriptorProto) -> bool:
    return field.HasField("oneof_index") and not field.proto3_optional


def _label(message: DescriptorProto, field: FieldDescriptorProto) -> str:
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return "repeated"
    if field.proto3_optional:
        return "optional"
    return f"one of `{message.oneof_decl[field.oneof_index].name}`" if _in_oneof(field) else ""


def _type(field: FieldDescriptorProto) -> str:
    if field.type_name:
        return _link(field.type_name)
    return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


def _link(full_name: str) -> str:
    name = full_name.removeprefix(".")
    if name in EXTERNAL:
        return f"[{name}]({EXTERNAL[name]})"
    short = name.removeprefix("hemaserve.v1.")
    return f"[{short}](#{short.lower()})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when docs/api.md is not current"
    )
    check = parser.parse_args().check
    page = reference()
    if not check:
        REFERENCE.write_text(page, encoding="utf-8")
    elif not REFERENCE.exists() or REFERENCE.read_text(encoding="utf-8") != page:
        raise SystemExit("docs/api.md is not current: run python scripts/api_reference.py")


if __name__ == "__main__":
    main()
