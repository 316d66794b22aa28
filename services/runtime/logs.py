"""Structured logs. Nothing about a patient is ever logged: no image, name, accession number, smear or field id.

What would say so all the same, an exception's text for one, is taken out of each record: `services.runtime.redaction`.
Tracebacks tell no values of variables, which they would cut short and so spell as nobody looks for them. Of libraries
only warnings are logged: at debug, Pillow tells what is written in a file beside its pixels.
"""

import logging
import sys
from typing import Final, Literal

import structlog

from services.runtime.redaction import redact_record
from services.runtime.tracing import add_to_record

_OURS: Final = ("hemaserve", "services")


def configure(service: str, *, level: str = "info", style: Literal["json", "text"] = "json") -> None:
    """Send structlog's and the standard library's records to standard error, one line each, in one format."""
    least = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        add_to_record,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    renderer: list[structlog.typing.Processor] = (
        [
            structlog.processors.ExceptionRenderer(
                structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
            ),
            redact_record,
            structlog.processors.JSONRenderer(),
        ]
        if style == "json"
        else [
            structlog.processors.format_exc_info,
            redact_record,
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            ),
        ]
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(least),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(least, logging.WARNING))
    for name in _OURS:
        logging.getLogger(name).setLevel(least)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(service=service)
