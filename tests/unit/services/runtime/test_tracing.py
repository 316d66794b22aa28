"""Where in a trace a task is: read from callers, passed on, told in logs; recorded only where that is set up."""

import asyncio
import subprocess
import sys

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from hemaserve.errors import InvalidArgument, Unavailable
from hemaserve.v1 import gateway_pb2
from services.runtime import redaction, tracing
from services.runtime.recording import Recorder, recorder
from services.runtime.tracing import Calling, TraceContext, Within, context_of, read_traceparent

CALLER = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", sampled=True)
METHOD = "/hemaserve.v1.SmearService/AnalyzeField"


class Kept(SpanExporter):
    def __init__(self):
        self.spans = []

    def export(self, spans):
        self.spans += spans
        return SpanExportResult.SUCCESS


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def recording(kept):
    return Recorder("gateway", share=1.0, exporter=kept)


def by_name(kept):
    return {span.name: span for span in kept.spans}


@given(
    st.from_regex(r"[0-9a-f]{32}", fullmatch=True),
    st.from_regex(r"[0-9a-f]{16}", fullmatch=True),
    st.booleans(),
)
def test_what_is_passed_on_is_what_is_read(trace_id, span_id, sampled):
    context = TraceContext(trace_id, span_id, sampled)
    assert read_traceparent(context.header) == context or int(trace_id, 16) * int(span_id, 16) == 0


@given(st.text(max_size=70))
def test_any_text_is_read_or_left(text):
    read_traceparent(text)


@pytest.mark.parametrize(
    "text",
    [
        *("", CALLER.header.upper(), CALLER.header + "-01", CALLER.header[:-1], CALLER.header + "\n"),
        "ff" + CALLER.header[2:],
        f"00-{'0' * 32}-{CALLER.span_id}-01",
        f"00-{CALLER.trace_id}-{'0' * 16}-01",
    ],
)
def test_what_is_no_trace_context_is_none(text):
    assert read_traceparent(text) is None


def test_a_later_version_is_read_as_far_as_it_is_known():
    assert read_traceparent("cc" + CALLER.header[2:] + "-what-the-future-brings") == CALLER


def test_two_contexts_are_none():
    said = ("traceparent", CALLER.header)
    assert context_of([said]) == CALLER
    assert context_of([said, said]) is None
    assert context_of([("traceparent", b"x")]) is None


async def test_without_recording_a_callers_context_is_passed_on_and_logged():
    tracing.enter_call(CALLER, None)
    with Within("field"), Calling("a.B/C") as calling:
        assert calling.metadata == (("traceparent", CALLER.header),)
        assert calling.sampled
    record = tracing.add_to_record(None, "info", {"event": "x"})
    assert (record["trace_id"], record["span_id"]) == (CALLER.trace_id, CALLER.span_id)
    assert tracing.exemplar() is None, "nobody could find it"


async def test_outside_of_traces_nothing_is_said():
    tracing.enter_call(None, None)
    with Calling("a.B/C") as calling:
        assert calling.metadata == ()
    assert tracing.add_to_record(None, "info", {"event": "x"}) == {"event": "x"}


async def test_spans_lie_in_each_other_and_in_the_callers(recording, kept):
    context, span = recording.call(METHOD, CALLER)
    tracing.enter_call(context, span)
    with Within("detect"), Calling("a.B/C", rows=3) as calling:
        assert calling.metadata[0][1].startswith(f"00-{CALLER.trace_id}-")
    span.end_call(grpc.StatusCode.OK)
    await recording.close()
    spans = by_name(kept)
    served, detect, call = spans[METHOD[1:]], spans["detect"], spans["a.B/C"]
    assert f"{served.parent.span_id:016x}" == CALLER.span_id
    assert detect.parent.span_id == served.context.span_id
    assert call.parent.span_id == detect.context.span_id
    assert dict(call.attributes) == {
        "rpc.system": "grpc",
        "rpc.service": "a.B",
        "rpc.method": "C",
        "rpc.grpc.status_code": 0,
        "hemaserve.rows": 3,
    }
    assert served.resource.attributes["service.name"] == "hemaserve-gateway"


async def test_a_caller_that_records_nothing_is_obeyed(recording, kept):
    context, span = recording.call(METHOD, TraceContext(CALLER.trace_id, CALLER.span_id, sampled=False))
    assert span is None
    assert (context.trace_id, context.sampled) == (CALLER.trace_id, False)
    await recording.close()
    assert not kept.spans


async def test_of_traces_that_begin_here_a_share_is_recorded(kept):
    some = Recorder("gateway", share=0.3, exporter=kept)
    recorded = sum(some.call(METHOD, None)[1] is not None for _ in range(1000))
    await some.close()
    assert 200 < recorded < 400


async def test_errors_are_told_by_their_codes_and_never_by_their_words(recording, kept):
    context, span = recording.call(METHOD, None)
    tracing.enter_call(context, span)
    wrong = InvalidArgument("field.image", "Mrs Smith", "an image")
    for block, error in (
        (Within("read"), wrong),
        (Within("cut"), KeyError("Smith")),
        (Calling("a.B/C"), Unavailable("Smith is away")),
        (Calling("a.B/D"), asyncio.CancelledError()),
    ):
        with pytest.raises(type(error)), block:
            raise error
    span.end_call(grpc.StatusCode.INVALID_ARGUMENT)
    await recording.close()
    spans = by_name(kept)
    assert spans["read"].status.description == "INVALID_ARGUMENT"
    assert spans["cut"].status.description == "INTERNAL"
    assert spans["a.B/C"].attributes["rpc.grpc.status_code"] == grpc.StatusCode.UNAVAILABLE.value[0]
    assert spans["a.B/D"].attributes["rpc.grpc.status_code"] == grpc.StatusCode.CANCELLED.value[0]
    assert not any("Smith" in each.to_json() for each in kept.spans)


async def test_what_tells_whose_blood_it_is_is_taken_out_of_attributes(recording, kept):
    redaction.begin_call()
    redaction.note(gateway_pb2.OpenSmear(smear_id="S-2026-1234", specimen="Accession 99"))
    context, span = recording.call(METHOD, None)
    tracing.enter_call(context, span)
    tracing.note(hemaserve__note="of S-2026-1234, Accession 99")
    span.end_call(grpc.StatusCode.OK)
    await recording.close()
    assert kept.spans[0].attributes["hemaserve.note"] == "of [redacted], [redacted]"


async def test_a_span_left_standing_at_a_yield_ends_with_its_generator(recording, kept):
    context, span = recording.call(METHOD, None)
    tracing.enter_call(context, span)

    async def numbers():
        with Within("crops"):
            yield 1

    standing = numbers()
    await anext(standing)
    await asyncio.create_task(standing.aclose())
    await recording.close()
    assert [each.name for each in kept.spans] == ["crops"]


async def test_a_collector_that_is_away_holds_up_nobody():
    away = recorder("gateway", endpoint="http://127.0.0.1:9", share=1.0)
    _, span = away.call(METHOD, None)
    span.end_call(grpc.StatusCode.OK)
    async with asyncio.timeout(9):
        await away.close()


def test_without_recording_opentelemetry_is_not_even_imported():
    code = "import sys, services.gateway.application; sys.exit('opentelemetry.sdk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
