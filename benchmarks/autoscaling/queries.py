"""The queries that autoscale, asked of a real Prometheus that watches a real stack under load.

`python -m benchmarks.autoscaling.queries` starts both, puts load on the stack, and writes what each gave. It fails
when one gives nothing. Prometheus' own program has to be installed.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks import images
from benchmarks.call_load import Plan, closed_loop, generate
from benchmarks.machine import facts
from benchmarks.peers.callers import GATEWAY, Target
from observability.prometheus import NotStarted, Prometheus, running, targets
from observability.trial import stack

DETECTION: Final = 'model=~"yolo.*"'
CLASSIFICATION: Final = 'model!~"yolo.*|.*ensemble"'

_AT_WORK: Final = "nv_inference_compute_infer_duration_us"
_WAITING: Final = "nv_inference_queue_duration_us"


def _requests(models: str, *times: str) -> str:
    """Requests for some models that are in some of Triton's stages, on average: its microseconds a second over 1e6."""
    return " + ".join(f"sum(rate({time}{{{models}}}[1m])) / 1e6" for time in times)


QUERIES: Final = {
    "gateway/in-flight": 'sum(hemaserve_admission_held{job="gateway",capacity="fields"})'
    ' + sum(hemaserve_admission_waiting{job="gateway",capacity="fields"})',
    "gateway/refused": 'sum(rate(hemaserve_admission_refused_total{job="gateway",reason!="CANCELLED"}[1m]))',
    "detector/in-flight": 'sum(hemaserve_admission_held{job="detector",capacity="fields"})'
    ' + sum(hemaserve_admission_waiting{job="detector",capacity="fields"})',
    "classifier/in-flight": 'sum(hemaserve_admission_held{job="classifier",capacity="crops"})',
    "triton-detection/work": _requests(DETECTION, _AT_WORK, _WAITING),
    "triton-detection/queue": _requests(DETECTION, _WAITING),
    "triton-classification/work": _requests(CLASSIFICATION, _AT_WORK, _WAITING),
    "triton-classification/queue": _requests(CLASSIFICATION, _WAITING),
}
"""What each signal is, summed over the replicas of a role."""


def ask(seconds: float, callers: int) -> dict[str, float | None]:
    """What each query gives after so long a load.

    Raises:
        NotStarted: Prometheus is missing or did not get ready.
    """
    values: dict[str, float | None] = {}
    with tempfile.TemporaryDirectory() as name, stack(Path(name)) as state:
        scraped = targets(Path(name) / "ready.json")
        with running(Path(name), scraped, every_s=2.0) as prometheus:
            # A deadline that cannot be kept by all: some of the calls are refused.
            plan = Plan(Target(GATEWAY, state["address"], 1.0), images.generated(12).files)

            def look() -> None:
                values.update({name: _value(prometheus, query) for name, query in QUERIES.items()})

            generate(closed_loop, plan, seconds, callers, meanwhile=look)
    return values


def _value(prometheus: Prometheus, query: str) -> float | None:
    """The query's single value, as KEDA reads it; None when there is none."""
    found = prometheus.query(query)
    return found[0][1] if len(found) == 1 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=25.0)
    parser.add_argument("--callers", type=int, default=48)
    parser.add_argument("--json", type=Path, default=Path("docs/scaling/queries.json"))
    arguments = parser.parse_args()
    began = time.monotonic()
    try:
        values = ask(arguments.seconds, arguments.callers)
    except NotStarted as failure:
        sys.exit(str(failure))
    rows = [{"name": name, "query": QUERIES[name], "value": value} for name, value in values.items()]
    arguments.json.write_text(
        json.dumps(
            {
                **facts(),
                "seconds": round(time.monotonic() - began),
                "callers": arguments.callers,
                "queries": rows,
            },
            indent=1,
        )
        + "\n"
    )
    if silent := [name for name, value in values.items() if value is None]:
        sys.exit(f"no data: {', '.join(silent)}")


if __name__ == "__main__":
    main()
