"""Triton's log lines as ours."""

from __future__ import annotations

from collections import deque

import pytest
from structlog.testing import capture_logs

from services.triton.logs import forward, parse_line

PREFIX = "1121 05:11:53.476153 6928 server.cc:604]"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f'I{PREFIX} "Started HTTPService"', ("info", "server.cc:604", "Started HTTPService")),
        (f"W{PREFIX} unquoted", ("warning", "server.cc:604", "unquoted")),
        (f'E{PREFIX} "failed"', ("error", "server.cc:604", "failed")),
        (
            f'E{PREFIX} "CudaDriverHelper has not been initialized."',
            ("debug", "server.cc:604", "CudaDriverHelper has not been initialized."),
        ),
        ("| Model | Version |", ("debug", "", "| Model | Version |")),
        ("guard: a stub died", ("warning", "guard", "a stub died")),
    ],
)
def test_a_line_has_level_source_and_message(line, expected) -> None:
    assert parse_line(line) == expected


def test_lines_are_logged_errors_kept_and_messages_given_on() -> None:
    import structlog

    errors: deque[str] = deque(maxlen=2)
    noticed: list[str] = []
    lines = [f'E{PREFIX} "{n}"\n' for n in "abc"] + ["\n", f'I{PREFIX} "done"\n']
    with capture_logs() as logs:
        forward(lines, structlog.get_logger(), errors, noticed.append)
    assert list(errors) == ["b", "c"]
    assert noticed == ["a", "b", "c", "done"]
    assert [entry["log_level"] for entry in logs] == ["error", "error", "error", "info"]
    assert {entry["event"] for entry in logs} == {"triton"}
