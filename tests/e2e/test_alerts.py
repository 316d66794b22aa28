"""A real Prometheus on a real stack: a network gets slow, its alert fires, a trace says why, and the alert clears."""

import time
from collections import Counter
from concurrent import futures

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from observability.faults import slow
from observability.load import Fields, fields
from observability.record import empty, shown
from observability.trial import called, trial
from observability.windows import BURNS, Scale

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.long(reason="a stack starts, and alerts wait for their windows, however short"),
]

SCALE = Scale(divisor=120, every_s=0.5)
"""An hour is half a minute, and five minutes are 2.5 seconds."""

FASTEST = BURNS[0]
NETWORK = "xception"
MEMBERS = '{model=~"xception|efficientnet"}'
"""Of the ensemble, which is as slow as the slower of them."""


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Takes spans in."""

    def __init__(self):
        self.spans = []

    def Export(self, request, context):
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture(scope="module")
def collector():
    server, collector = grpc.server(futures.ThreadPoolExecutor(2)), Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)
    collector.address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield collector
    server.stop(0)


@pytest.fixture(scope="module")
def watched(tmp_path_factory, collector, prometheus_programs):
    told = {
        f"HEMASERVE_{name}_TRACE_{key}": value
        for name in ("GATEWAY", "DETECTOR", "CLASSIFIER")
        for key, value in (("ENDPOINT", collector.address), ("SHARE", "1"))
    }
    sent = Fields(fields().small, (), ())
    with (
        trial(tmp_path_factory.mktemp("watched"), SCALE, every_s=0.5, **told) as running,
        called(running.address, sent, pause_s=0.3),
    ):
        yield running


def _wait(condition, timeout_s, what):
    """Wait for something; gives how many seconds it took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < timeout_s, f"{what}: not within {timeout_s:g} s"
        time.sleep(0.2)
    return time.monotonic() - began


def _fires(watched, name):
    """Whether somebody is woken by this alert."""
    return any(one["alertname"] == name and one["severity"] == "page" for one in watched.prometheus.alerts())


def _is_well(watched):
    """Whether enough was counted, and next to nothing of it was slow: the first calls after the start are."""
    told = '{slo="classify-p99"}'
    events, slow_share = (
        watched.prometheus.query(f"hemaserve:sli_{what}1h{told}")
        for what in ("events:increase", "errors:ratio_rate")
    )
    return events and slow_share and events[0][1] > 30 and slow_share[0][1] < 0.02


def test_an_alert_fires_while_a_network_is_slow_and_clears_after(watched, collector):
    window_s = FASTEST.long_s / SCALE.divisor
    _wait(lambda: _is_well(watched), 120, "calls are counted, and all is well")
    assert not _fires(watched, "ClassifySlow")

    struck = time.time()
    with slow(NETWORK, watched.pid, running=0.03):
        fired_s = _wait(lambda: _fires(watched, "ClassifySlow"), window_s, "the alert fires")
        # Slow is not broken.
        assert not any(
            _fires(watched, f"{service}Fails") for service in ("Gateway", "Detector", "Classifier")
        )
        (slowest, _), *_ = watched.prometheus.query(
            f"topk(1, sum by (model) (rate(nv_inference_compute_infer_duration_us{MEMBERS}[10s])) "
            f"/ sum by (model) (rate(nv_inference_request_success{MEMBERS}[10s])))"
        )
        assert slowest["model"] == NETWORK
    cleared_s = _wait(lambda: not _fires(watched, "ClassifySlow"), window_s, "the alert clears")
    print(f"fired after {fired_s:.1f} s and cleared after {cleared_s:.1f} s, of windows of {window_s:g} s")

    # Spans are sent off in batches, those that end first come first.
    _wait(
        lambda: _slowest_stage(collector, struck) == ("infer", "ensemble"),
        30,
        "the slow call's trace names the stage",
    )


def _slowest_stage(collector, since):
    """Stage, and its model, with most of the time of the `classify` that took longest since then; None without one."""
    spans = [span for span in list(collector.spans) if span.start_time_unix_nano > since * 1e9]
    longest = max((span for span in spans if span.name == "classify"), key=_seconds, default=None)
    found = Counter()
    for span in spans:
        if (
            span.name in {"read", "queue", "infer", "vote", "assemble"}
            and longest is not None
            and span.trace_id == longest.trace_id
            and longest.start_time_unix_nano <= span.start_time_unix_nano
            and span.end_time_unix_nano <= longest.end_time_unix_nano
        ):
            models = [one.value.string_value for one in span.attributes if one.key == "hemaserve.model"]
            found[span.name, *models] += _seconds(span)
    return found.most_common(1)[0][0] if found else None


def _seconds(span):
    return (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9


def test_every_panel_shows_something(watched):
    """With the stack that is under load since the test before."""
    ended = time.time()
    assert empty(shown(watched.prometheus, watched.began, ended)) == []
    assert all(target["health"] == "up" for target in watched.prometheus.targets())
