"""The spans of real calls through the gateway, the detector, the classifier and Triton."""

import itertools
from collections import Counter
from contextlib import AsyncExitStack

import grpc.aio
import pytest

from hemaserve.v1 import gateway_pb2, gateway_pb2_grpc
from services.classifier.application import open_application as open_classifier
from services.classifier.settings import ClassifierSettings
from services.detector.application import open_application as open_detector
from services.detector.settings import DetectorSettings
from services.gateway.application import open_application as open_gateway
from services.gateway.settings import GatewaySettings
from services.runtime.server import running
from services.runtime.signal_kinds import EVERY
from services.runtime.span_signals import LOOK, REQUEST, RPC, SPANS, TRITON_CALL

from ...otlp_receiver import Collector, Seen, collecting
from .conftest import ANYWHERE

TIMEOUT_S = 120
SMEAR = "hemaserve.v1.SmearService"
DETECT = "hemaserve.v1.DetectorService/Detect"
CLASSIFY = "hemaserve.v1.ClassifierService/Classify"
SERVER, CLIENT = 2, 3

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


@pytest.fixture(scope="module")
async def traced(triton, images):
    """All services, recording only what callers say, after some calls; what the collector got."""
    with collecting() as collector:
        told = ANYWHERE | {"trace_endpoint": collector.endpoint, "trace_share": 0.0}
        async with AsyncExitStack() as stack:
            detector = DetectorSettings(triton_address=triton, **told)
            classifier = ClassifierSettings(triton_address=triton, **told)
            found = await stack.enter_async_context(
                running(await open_detector(detector), detector, name="detector")
            )
            named = await stack.enter_async_context(
                running(await open_classifier(classifier), classifier, name="classifier")
            )
            gateway = GatewaySettings(
                detector_address=found.address, classifier_address=named.address, **told
            )
            server = await stack.enter_async_context(
                running(await open_gateway(gateway), gateway, name="gateway")
            )
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(server.address))
            await channel.channel_ready()
            await _call(gateway_pb2_grpc.SmearServiceStub(channel), images)
        # Leaving them sends off what is left.
        yield collector


def context(number: int, *, sampled: bool = True):
    return [("traceparent", f"00-{TRACE[:-2]}{number:02x}-{CALLER}-{int(sampled):02x}")]


async def _call(stub, images) -> None:
    async def field(image, metadata):
        request = gateway_pb2.AnalyzeFieldRequest(field=gateway_pb2.Field(image=image))
        await stub.AnalyzeField(request, timeout=TIMEOUT_S, metadata=metadata)

    for image in images[:2]:
        await field(image, [])
    for number, image in enumerate(images[:4], start=1):
        await field(image, context(number))
    await field(images[0], context(9, sampled=False))
    cell = gateway_pb2.LocatedCell(cell_id="a", image=images[0])
    cells = iter([gateway_pb2.ClassifyCellsRequest(cells=[cell])])
    [_ async for _ in stub.ClassifyCells(cells, timeout=TIMEOUT_S, metadata=context(5))]
    request = gateway_pb2.ExplainCellRequest(cell=cell)
    await stub.ExplainCell(request, timeout=TIMEOUT_S, metadata=context(6))
    smear = [gateway_pb2.AnalyzeSmearRequest(open=gateway_pb2.OpenSmear(smear_id="smear"))]
    smear += [
        gateway_pb2.AnalyzeSmearRequest(field=gateway_pb2.Field(field_id=f"{n}", sequence=n, image=image))
        for n, image in enumerate(images[:2])
    ]
    [_ async for _ in stub.AnalyzeSmear(iter(smear), timeout=TIMEOUT_S, metadata=context(7))]
    with pytest.raises(grpc.aio.AioRpcError):
        await field(b"no image", context(8))


def of_trace(collector: Collector, number: int) -> list[Seen]:
    return [span for span in collector.spans if span.trace_id == f"{TRACE[:-2]}{number:02x}"]


def below(spans: list[Seen], above: Seen) -> list[Seen]:
    found = [span for span in spans if span.parent_id == above.span_id]
    return sorted(found, key=lambda span: span.began_s)


def one(spans: list[Seen], name: str, kind: int | None = None) -> Seen:
    (found,) = [span for span in spans if span.name == name and kind in (None, span.kind)]
    return found


def stages(spans: list[Seen], above: Seen) -> list[Seen]:
    return [span for span in below(spans, above) if span.kind not in (SERVER, CLIENT)]


def test_only_what_its_caller_wants_recorded_is(traced):
    callers = {span.trace_id for span in traced.spans}
    assert callers == {f"{TRACE[:-2]}{number:02x}" for number in range(1, 9)}


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_field_is_one_trace_through_every_hop(traced, number):
    spans = of_trace(traced, number)
    served = one(spans, f"{SMEAR}/AnalyzeField")
    assert served.parent_id == CALLER
    assert served.kind == SERVER
    assert served.attributes["rpc.grpc.status_code"] == 0
    for method, service in ((DETECT, "detector"), (CLASSIFY, "classifier")):
        asked, answered = one(spans, method, CLIENT), one(spans, method, SERVER)
        assert answered.parent_id == asked.span_id
        assert (asked.service, answered.service) == ("hemaserve-gateway", f"hemaserve-{service}")
        assert asked.seconds >= answered.seconds - 0.003
    asked = [span for span in spans if span.name == TRITON_CALL]
    assert {span.service for span in asked} == {"hemaserve-detector", "hemaserve-classifier"}
    assert all(span.attributes["hemaserve.rows"] >= 1 for span in asked)
    known = {span.span_id for span in spans} | {CALLER}
    assert all(span.parent_id in known for span in spans), "no span is cut off from its trace"


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_the_stages_of_a_field_add_up_to_the_request(traced, number):
    spans = of_trace(traced, number)
    served = one(spans, f"{SMEAR}/AnalyzeField")
    assert [span.name for span in stages(spans, served)] == ["read", "queue", "attempt", "assemble"]
    attempt = one(spans, "attempt")
    assert [span.name for span in stages(spans, attempt)] == ["models", "detect", "classify"]
    detect = one(spans, DETECT, SERVER)
    assert {span.name for span in stages(spans, detect)} == {
        *("queue", "decode", LOOK, "nms", "crops", "measure")
    }
    request = [span for span in spans if span.name == REQUEST]
    assert request
    for each in request:
        assert [span.name for span in stages(spans, each)] == ["queue", "read", "infer", "vote", "assemble"]
    for whole in (served, attempt, *request):
        total = sum(span.seconds for span in stages(spans, whole))
        assert total == pytest.approx(whole.seconds, rel=0.05, abs=0.003), whole.name


def test_the_stages_of_the_detector_add_up_until_all_is_sent(traced):
    """Its caller is slower to take crops than it is to make them, so only what lies between is left out: that grows
    when others want the processors, and a stage that is missing would be missing from every field."""
    left_out = []
    for number in range(1, 5):
        spans = of_trace(traced, number)
        parts = stages(spans, one(spans, DETECT, SERVER))
        for before, after in itertools.pairwise(parts):
            assert after.began_s >= before.ended_s - 0.001
        first = [span for span in parts if span.name not in {"crops", "measure"}]
        until = one(spans, "detect").seconds
        left_out.append(abs(until - sum(span.seconds for span in first)) - max(0.05 * until, 0.006))
    assert min(left_out) <= 0


def test_only_declared_spans_are_recorded_and_nearly_all_are(traced):
    declared = {span.name: span for span in SPANS}
    by_id = {span.span_id: span for span in traced.spans}
    seen = Counter()
    for span in traced.spans:
        if span.kind in (SERVER, CLIENT):
            continue
        owner = span.service.removeprefix("hemaserve-")
        assert owner in declared[span.name].owners, span.name
        above = by_id[span.parent_id]
        parent = RPC if above.kind == SERVER else above.name
        assert parent in declared[span.name].parents, f"{span.name} in {parent}"
        allowed = {attribute.name for attribute in declared[span.name].attributes}
        assert set(span.attributes) <= allowed
        seen[owner, span.name] += 1
    # The screen's networks are not loaded here.
    missing = {(str(owner), name) for name, each in declared.items() for owner in each.owners} - seen.keys()
    assert missing == {("gateway", "screen"), ("classifier", "decode")}
    assert set(EVERY) == {owner for owner, _ in seen}


def test_a_call_that_is_refused_is_told_from_one_that_fails(traced):
    spans = of_trace(traced, 8)
    served = one(spans, f"{SMEAR}/AnalyzeField")
    assert served.attributes["rpc.grpc.status_code"] == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert not served.error, "it is the caller's mistake"
    assert one(spans, "detect").error
