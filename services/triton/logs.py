"""Turns Triton's log lines into ours."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

_LINE = re.compile(r"([VIWEF])\d{4} \d\d:\d\d:\d\d\.\d+ \d+ ([\w.-]+:\d+)\] (.*)", re.DOTALL)
_METHODS = {"V": "debug", "I": "info", "W": "warning", "E": "error", "F": "critical"}


# Triton takes it for worth a warning, or an error, that a machine has no GPU.
_NO_GPU = (
    "CudaDriverHelper has not been initialized",
    "unable to create stream for",
    "failed to allocate pinned system memory",
)
_GUARD = "guard: "


def parse_line(line: str) -> tuple[str, str, str]:
    """Level (a structlog method's name), source and message of one line of Triton's output.

    Lines without Triton's prefix (its tables, and what stubs write themselves) are ``debug`` of source ``""``.
    """
    if line.startswith(_GUARD):
        return "warning", "guard", line.removeprefix(_GUARD)
    match = _LINE.fullmatch(line)
    if match is None:
        return "debug", "", line
    message = match[3]
    if len(message) > 1 and message[0] == message[-1] == '"':
        message = message[1:-1]
    level = "debug" if message.startswith(_NO_GPU) else _METHODS[match[1]]
    return level, match[2], message


def forward(lines: Iterable[str], log: Any, errors: deque[str], notice: Callable[[str], None]) -> None:
    """Logs every line until they end, keeps errors' texts in ``errors``, and gives every message to ``notice``."""
    for raw in lines:
        line = raw.rstrip()
        if not line:
            continue
        level, source, message = parse_line(line)
        notice(message)
        if level in ("error", "critical"):
            errors.append(message)
        getattr(log, level)("triton", message=message, source=source)
