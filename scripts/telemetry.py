"""Writes docs/telemetry.md from the declarations of signals; with --check, tells whether it is current.

python scripts/telemetry.py [--check]
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from services.runtime.foreign_signals import FOREIGN_METRICS
from services.runtime.signal_kinds import OTHER, Label, Metric, MetricKind, Needs, Owner
from services.runtime.signals import METRICS
from services.runtime.span_signals import RPC, RPC_ATTRIBUTES, SPANS, TRITON_ATTRIBUTES, TRITON_CALL

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "telemetry.md"

INTRODUCTION = f"""\
# Telemetry

Every metric and span of HemaServe. Written by `scripts/telemetry.py` from `services/runtime/signals.py`,
`span_signals.py` and `foreign_signals.py` beside it; change it there. Metrics are made from these declarations, and
tests hold a running stack to them: all that is declared is there, and nothing else. Why it is done like this:
[decision 23](decisions/0023-telemetry.md).

## How to get it

* **Metrics**: each service has `/metrics` at its `metrics_listen` (gateway 9101, detector 9102, classifier 9103),
  Triton its own at port 8002. Whoever asks for OpenMetrics, as Prometheus does, gets exemplars too: values with the
  id of the trace that they were seen in, of traces that are recorded (Prometheus keeps them with
  `--enable-feature=exemplar-storage`).
* **Traces**: set `trace_endpoint` of each service (e.g. `HEMASERVE_GATEWAY_TRACE_ENDPOINT=http://collector:4317`) to
  send spans by OTLP over gRPC; `trace_share` says how many of the traces that begin there are recorded. W3C's
  `traceparent` of a caller is honoured, its decision whether to record included, and passed on through every hop,
  whether spans are recorded or not; `tracestate` is not. `HEMASERVE_TRITON_TRACE_URL=http://collector:4318/v1/traces`
  has the embedded Triton record the same traces inside itself, by OTLP over HTTP: when a request was queued, when the
  network began and ended.
* **Logs**: one JSON object a line; those of calls that belong to a trace have its `trace_id` and `span_id`.

No metric and no span has an image, a name, an accession number or an id of a smear or field in it, nor the name of a
client.

## Labels

A value that is not among those that a label may have counts as `{OTHER}`, as do values beyond the number that it may
have: whatever callers send, there are no more series than these.

"""


def page() -> str:
    """The page's text."""
    return INTRODUCTION + "\n".join(_parts()) + "\n"


def _parts() -> Iterator[str]:
    yield from _labels()
    for owners, title in _sections():
        chosen = [metric for metric in METRICS if metric.owners == owners]
        if chosen:
            yield f"## Metrics of {title}\n"
            yield from _metrics(chosen)
    yield from _foreign()
    yield from _spans()


def _sections() -> Iterator[tuple[tuple[Owner, ...], str]]:
    for owners in dict.fromkeys(metric.owners for metric in METRICS):
        if len(owners) == 1:
            yield owners, f"the {owners[0]}"
        elif set(owners) == set(Owner) - {Owner.TRITON}:
            yield owners, "every service"
        else:
            yield owners, " and ".join(owners)


def _labels() -> Iterator[str]:
    used: dict[Label, list[str]] = {}
    for metric in METRICS:
        for label in metric.labels:
            used.setdefault(label, []).append(metric.name)
    yield "| Label | Meaning | Values |"
    yield "|---|---|---|"
    for label in sorted(used, key=lambda label: (label.name, label.meaning)):
        values = ", ".join(f"`{value}`" for value in label.values) or f"at most {label.most}"
        yield f"| `{label.name}` | {label.meaning} | {values} |"
    yield ""


def _metrics(metrics: list[Metric]) -> Iterator[str]:
    yield "| Metric | Type | Unit | Labels | Meaning |"
    yield "|---|---|---|---|---|"
    for metric in metrics:
        labels = ", ".join(f"`{label.name}`" for label in metric.labels)
        needs = "" if metric.needs is Needs.NOTHING else f" Only with {metric.needs}."
        yield f"| `{metric.name}` | {metric.kind} | {metric.unit} | {labels} | {metric.meaning}{needs} |"
    yield ""
    for metric in metrics:
        if metric.kind is MetricKind.HISTOGRAM:
            yield f"* Buckets of `{metric.name}`: {', '.join(f'{bound:g}' for bound in metric.buckets)}"
    yield ""


def _foreign() -> Iterator[str]:
    yield "## Metrics that are not ours\n"
    yield "Of Triton's, those that rules, dashboards and scalers use.\n"
    yield "| Metric | Type | Of | Labels | Meaning |"
    yield "|---|---|---|---|---|"
    for metric in FOREIGN_METRICS:
        owners = "every service" if len(metric.owners) > 1 else metric.owners[0]
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{metric.name}` | {metric.kind} | {owners} | {labels} | {metric.meaning} |"
    yield ""


def _spans() -> Iterator[str]:
    yield "## Spans\n"
    yield (
        "A call has a span on the side that answers and one on the side that calls, both named after its method, e.g.\n"
        "`hemaserve.v1.SmearService/AnalyzeField`; calls of Triton are named\n"
        f"`{TRITON_CALL}`. Inside the span of a call that a service answers are these. Of those\n"
        "right below another span, one begins where the one before it ended, but for those that say otherwise, so\n"
        "that they add up to it; spans of calls lie beside them. Each stage is also a value of the label `stage`.\n"
    )
    yield "| Span | Of | Below | Stage | Attributes | Meaning |"
    yield "|---|---|---|---|---|---|"
    for span in SPANS:
        above = ", ".join("the call" if parent == RPC else f"`{parent}`" for parent in span.parents)
        attributes = ", ".join(f"`{attribute.name}`" for attribute in span.attributes)
        stage = "yes" if span.stage else ""
        yield (
            f"| `{span.name}` | {', '.join(span.owners)} | {above} | {stage} | {attributes} | {span.meaning} |"
        )
    yield ""
    yield "| Attribute | Of | Meaning |"
    yield "|---|---|---|"
    for attribute in RPC_ATTRIBUTES:
        yield f"| `{attribute.name}` | calls | {attribute.meaning} |"
    for attribute in TRITON_ATTRIBUTES:
        yield f"| `{attribute.name}` | calls of Triton | {attribute.meaning} |"
    for span in SPANS:
        for attribute in span.attributes:
            yield f"| `{attribute.name}` | `{span.name}` | {attribute.meaning} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when docs/telemetry.md is not current"
    )
    check = parser.parse_args().check
    text = page()
    if not check:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        raise SystemExit("docs/telemetry.md is not current: run python scripts/telemetry.py")


if __name__ == "__main__":
    main()
