"""The audit log: who called what, when, with which outcome. One JSON object a line, written in a thread of its own.

What was sent is counted, and never named: no field, file, smear or specimen, no image. A log that a rotation has moved
away is begun again by itself, because the file is opened for each batch of lines.
"""

import json
import os
import queue
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog

_log = structlog.get_logger(__name__)

_WAITING: Final = 10_000
"""Records that may wait for a slow disk; further ones are lost, loudly."""
_CLOSE_TIMEOUT_S: Final = 5.0


@dataclass(slots=True)
class Record:
    """One call.

    Attributes:
        client: the principal's name; empty where nobody was proven to call.
        credential, credential_id: what was shown, and its public name.
        peer: the address that the call came from, as gRPC writes it.
        requests, fields, bytes: what was counted; see `Quota`.
        code: the canonical gRPC code of its end.
        reason: of a refusal: of the credentials', or the error's.
    """

    method: str
    peer: str
    began: datetime
    client: str = ""
    credential: str = "none"
    credential_id: str = ""
    requests: int = 0
    fields: int = 0
    bytes: int = 0
    code: str = "OK"
    reason: str = ""
    seconds: float = 0.0

    def line(self) -> str:
        """The record as it is written, without the line's end."""
        return json.dumps(
            {
                "time": self.began.isoformat(timespec="milliseconds"),
                "client": self.client,
                "credential": self.credential,
                "credential_id": self.credential_id,
                "peer": self.peer,
                "method": self.method,
                "requests": self.requests,
                "fields": self.fields,
                "bytes": self.bytes,
                "code": self.code,
                "reason": self.reason,
                "seconds": round(self.seconds, 4),
            }
        )


class AuditLog:
    """Takes records without waiting, and writes them in order.

    Args:
        path: the file, made readable to its owner only; None: standard output.
        on_lost: told for each record that could not be written.
    """

    def __init__(self, path: Path | None, on_lost: Callable[[], Any] = lambda: None) -> None:
        self._path = path
        self._on_lost = on_lost
        self._waiting: queue.Queue[Record | None] = queue.Queue(_WAITING)
        self.healthy = True
        """Whether the last record could be written."""
        self._thread = threading.Thread(target=self._write_all, name="audit", daemon=True)
        self._thread.start()

    def take(self, record: Record) -> None:
        """Write the record, soon."""
        try:
            self._waiting.put_nowait(record)
        except queue.Full:
            self._lose(1, "too many records wait")

    def close(self) -> None:
        """Write what waits, and end."""
        try:
            self._waiting.put(None, timeout=_CLOSE_TIMEOUT_S)
        except queue.Full:
            return
        self._thread.join(_CLOSE_TIMEOUT_S)

    def _write_all(self) -> None:
        more = True
        while more:
            records = [self._waiting.get()]
            while not self._waiting.empty():
                records.append(self._waiting.get_nowait())
            more = records[-1] is not None
            lines = [record.line() + "\n" for record in records if record is not None]
            if lines:
                self._write(lines)

    def _write(self, lines: list[str]) -> None:
        text = "".join(lines).encode()
        try:
            if self._path is None:
                sys.stdout.buffer.write(text)
                sys.stdout.buffer.flush()
            else:
                _append(self._path, text)
        except (OSError, ValueError) as error:
            self._lose(len(lines), type(error).__name__)
        else:
            self.healthy = True

    def _lose(self, count: int, why: str) -> None:
        self.healthy = False
        _log.error("the audit log cannot be written", lost=count, why=why)
        for _ in range(count):
            self._on_lost()


def began_now(method: str, peer: str) -> Record:
    """The record of a call that begins."""
    return Record(method, peer, datetime.now(UTC))


def _append(path: Path, text: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
