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


def _events(watched):
    found = watched.prometheus.query('hemaserve:sli_events:increase1h{slo="classify-p99"}')
    return found[0][1] if found else 0


def test_an_alert_fires_while_a_network_is_slow_and_clears_after(watched, collector):
    window_s = FASTEST.long_s / SCALE.divisor
    # The first calls after the start are slow, and told of: that is over first.
    _wait(
        lambda: _events(watched) > 30 and not _fires(watched, "ClassifySlow"),
        90,
        "calls are counted, and all is well",
    )

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

    print(Counter(span.name for span in collector.spans))
    print(
        max(
            (s.end_time_unix_nano - s.start_time_unix_nano for s in collector.spans if s.name == "classify"),
            default=0,
        )
    )
    _wait(lambda: _slow_trace(collector, struck), 30, "a slow call's spans arrive")
    assert _slow_trace(collector, struck).most_common(1)[0][0] == "infer"


def _slow_trace(collector, since):
    """Seconds by stage, inside `classify`, of the call that took longest since then; empty while there is none."""
    took = {}
    for span in collector.spans:
        if span.start_time_unix_nano > since * 1e9 and span.name == "classify":
            took[span.trace_id] = span.end_time_unix_nano - span.start_time_unix_nano
    found = Counter()
    if took and max(took.values()) > 0.6e9:
        longest = max(took, key=took.get)
        for span in list(collector.spans):
            if span.trace_id == longest and span.name in {
                "read",
                "queue",
                "turn",
                "infer",
                "vote",
                "assemble",
            }:
                found[span.name] += span.end_time_unix_nano - span.start_time_unix_nano
    return found if "infer" in found else Counter()


def test_every_panel_shows_something(watched):
    """With the stack that is under load since the test before."""
    ended = time.time()
    assert empty(shown(watched.prometheus, watched.began, ended)) == []
    assert all(target["health"] == "up" for target in watched.prometheus.targets())
