"""What says whose blood it is does not leave: not by a log, whatever its style, and not by an error."""

import contextvars
import io
import json
import logging
from collections.abc import AsyncIterator

import grpc.aio
import pytest
import structlog
from hypothesis import assume, given
from hypothesis import strategies as st

from hemaserve.errors import FailedPrecondition, InvalidArgument
from hemaserve.v1 import gateway_pb2, gateway_pb2_grpc
from services.runtime import logs, redaction
from services.runtime.errors import to_status
from services.runtime.redaction import MIN_CHARS, REDACTED, redact, redacted
from services.runtime.server import running
from services.runtime.settings import ServiceSettings

MARK = "S-4711-Möller'\"\\"
"""A specimen number that is spelt differently wherever it is quoted."""

long_texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=MIN_CHARS, max_size=40)


def field(field_id: str = "", image: bytes = b"") -> gateway_pb2.AnalyzeFieldRequest:
    return gateway_pb2.AnalyzeFieldRequest(field=gateway_pb2.Field(field_id=field_id, image=image))


@pytest.fixture
def in_a_call():
    """A call whose request carries `MARK`."""
    redaction.begin_call()
    redaction.note(field(MARK))
    yield
    redaction._of_this_call.set(None)


@pytest.fixture
def configured(monkeypatch):
    """`configured(style)`: logs as a service writes them; gives what was written."""
    before = structlog.get_config()
    root, ours = logging.getLogger(), [logging.getLogger(name) for name in ("hemaserve", "services")]
    handlers, levels = root.handlers, [logger.level for logger in (root, *ours)]

    def configure(style: str) -> io.StringIO:
        written = io.StringIO()
        monkeypatch.setattr("sys.stderr", written)
        logs.configure("test", level="debug", style=style)
        structlog.configure(cache_logger_on_first_use=False)  # modules' loggers are other tests' too
        return written

    yield configure
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()
    root.handlers = handlers
    for logger, level in zip((root, *ours), levels, strict=True):
        logger.setLevel(level)


@given(value=long_texts, before=st.text(), after=st.text())
def test_a_value_of_the_call_is_in_no_text_that_leaves_however_it_is_quoted(value, before, after):
    assume(value not in REDACTED)
    written = (value, repr(value), json.dumps(value), str(field(value)), f"{before}{value}{after}")

    def in_a_call() -> list[str]:
        redaction.begin_call()
        redaction.note(field(value))
        return [redact(text) for text in written]

    plain, *quoted, within = contextvars.copy_context().run(in_a_call)

    assert plain == REDACTED
    assert all(len(text) < len(REDACTED) + 40 and value not in text for text in quoted)
    # What stands beside it may, with the replacement, happen to spell it.
    assert within.count(value) <= f"{before}{REDACTED}{after}".count(value)


@given(text=st.text(alphabet=st.characters(codec="ascii", exclude_characters="'\"")))
def test_a_text_is_left_as_it_is_where_no_call_carries_anything(text):
    assert redact(text) == text


def test_short_values_are_left_alone(in_a_call):
    redaction.note(field("1"))
    assert redact("sequence 1 after 2") == "sequence 1 after 2"


def test_one_call_does_not_know_what_another_carries():
    def other() -> None:
        redaction.begin_call()
        redaction.note(field("S-1234"))

    contextvars.copy_context().run(other)

    assert redact("S-1234") == "S-1234"


def test_messages_and_bytes_are_taken_out_by_their_shape_without_any_call():
    told = str(field("S-4711", b"EXIF: Jane Doe"))
    opened = str(gateway_pb2.OpenSmear(smear_id="Jane", specimen='a "quoted" one', target=100))

    assert "S-4711" not in redact(told)
    assert "Jane" not in redact(told)
    assert "Jane" not in redact(opened)
    assert "quoted" not in redact(opened)
    assert "target: 100" in redact(opened)
    assert "Jane" not in redact(f"cannot read {b'EXIF: Jane Doe'!r}")


def test_all_that_a_record_may_carry_is_redacted(in_a_call):
    carried = {"a": [MARK, {"b": (MARK,)}], "c": field(MARK), "d": b"pixels", "e": ValueError(MARK), "f": 1.5}

    told = redacted(carried)

    assert MARK not in repr(told)
    assert "ller" not in repr(told)
    assert (told["d"], told["f"]) == ("6 bytes", 1.5)


@pytest.mark.parametrize(
    "error",
    [
        InvalidArgument("field.field_id", MARK, f"anything but {MARK}"),
        FailedPrecondition(f"the smear {MARK} is open already"),
    ],
)
def test_an_error_that_names_it_reaches_nobody(in_a_call, error):
    status = to_status(error)

    assert "S-4711" not in str(status)
    assert REDACTED in status.message
    assert "S-4711" in str(error), "the test would show nothing"


def test_the_path_of_an_argument_is_never_redacted(in_a_call):
    redaction.note(field("field"))
    assert to_status(InvalidArgument("field.image", "no bytes", "an image")).message.startswith(
        "field.image: "
    )


def fail(request: gateway_pb2.AnalyzeFieldRequest) -> None:
    specimen = request.field.field_id
    try:
        {}[specimen]
    except KeyError as error:
        error.add_note(f"while looking at {specimen}")
        raise RuntimeError(f"cannot handle {request}") from error


@pytest.mark.parametrize("style", ["json", "text"])
def test_no_record_tells_it_by_its_event_its_keys_or_its_traceback(configured, in_a_call, style):
    written = configured(style)
    log = structlog.get_logger("services.test")
    request = field(MARK, b"EXIF: Jane Doe")

    log.debug(f"field {MARK}", canary="yolov8n", field_id=MARK, request=request)
    try:
        fail(request)
    except RuntimeError:
        log.exception("it failed")
        logging.getLogger("asyncio").error("it failed: %s", MARK, exc_info=True)

    told = written.getvalue()
    assert "yolov8n" in told
    assert "in fail" in told or '"name": "fail"' in told
    assert told.count("it failed") == 2
    assert "S-4711" not in told
    assert "Jane" not in told


@pytest.mark.parametrize("style", ["json", "text"])
def test_tracebacks_tell_no_variables(configured, style):
    """Which would be cut short, and so no longer be found."""
    written = configured(style)
    try:
        fail_quietly(MARK)
    except RuntimeError:
        structlog.get_logger("services.test").exception("it failed")

    assert "it failed" in written.getvalue()
    assert "S-4711" not in written.getvalue()


def fail_quietly(specimen: str) -> None:
    raise RuntimeError("no reason")


def test_libraries_are_not_heard_below_a_warning(configured):
    written = configured("json")
    logging.getLogger("PIL.TiffImagePlugin").debug("tag: ImageDescription - value: Jane Doe")
    logging.getLogger("PIL").warning("canary")

    assert "canary" in written.getvalue()
    assert "Jane" not in written.getvalue()


class Servicer(gateway_pb2_grpc.SmearServiceServicer):
    """Fails with what it was sent in its hands."""

    async def AnalyzeField(self, request, context):
        raise RuntimeError(f"cannot handle {request.field.field_id}")

    async def AnalyzeSmear(
        self, request_iterator, context
    ) -> AsyncIterator[gateway_pb2.AnalyzeSmearResponse]:
        opened = await anext(request_iterator)
        second = await anext(request_iterator)
        raise FailedPrecondition(f"{opened.open.specimen}: {second.field.field_id}")
        yield


class App:
    service_names = ("hemaserve.v1.SmearService",)

    def register(self, server) -> None:
        gateway_pb2_grpc.add_SmearServiceServicer_to_server(Servicer(), server)

    async def check(self) -> None:
        pass

    async def close(self) -> None:
        pass


async def test_every_call_knows_what_its_own_requests_carry(configured):
    written = configured("json")
    settings = ServiceSettings(listen="127.0.0.1:0")
    async with (
        running(App(), settings, name="test") as server,
        grpc.aio.insecure_channel(server.address) as ch,
    ):
        stub = gateway_pb2_grpc.SmearServiceStub(ch)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.AnalyzeField(field(MARK))
        requests = [
            gateway_pb2.AnalyzeSmearRequest(open=gateway_pb2.OpenSmear(smear_id="smear", specimen=MARK)),
            gateway_pb2.AnalyzeSmearRequest(field=gateway_pb2.Field(field_id="Jane Doe.png")),
        ]
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.AnalyzeSmear(iter(requests)).read()

    assert "incident" in failed.value.details()
    assert refused.value.details() == f"{REDACTED}: {REDACTED}"
    assert "cannot handle [redacted]" in written.getvalue()
    for told in (written.getvalue(), repr(failed.value), repr(refused.value)):
        assert "S-4711" not in told
        assert "Jane" not in told
