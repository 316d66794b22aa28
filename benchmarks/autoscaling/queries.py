"""The queries that autoscale, asked of a real Prometheus that watches a real stack under load.

`python -m benchmarks.autoscaling.queries` starts both, puts load on the stack, and writes what each gave. It fails
when one gives nothing. Prometheus' own program has to be installed.
"""

import argparse
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Final

from benchmarks import images
from benchmarks.call_load import Plan, closed_loop, generate
from benchmarks.footprint import stack
from benchmarks.machine import facts
from benchmarks.peers.callers import GATEWAY, Target

DETECTION: Final = 'model=~"yolo.*"'
CLASSIFICATION: Final = 'model!~"yolo.*|.*ensemble"'

QUERIES: Final = {
    "gateway/in-flight": 'sum(hemaserve_admission_held{job="gateway",capacity="fields"})'
    ' + sum(hemaserve_admission_waiting{job="gateway",capacity="fields"})',
    "gateway/refused": 'sum(rate(hemaserve_admission_refused_total{job="gateway",reason!="CANCELLED"}[1m]))',
    "detector/in-flight": 'sum(hemaserve_admission_held{job="detector",capacity="fields"})'
    ' + sum(hemaserve_admission_waiting{job="detector",capacity="fields"})',
    "classifier/in-flight": 'sum(hemaserve_admission_held{job="classifier",capacity="crops"})',
    "triton-detection/busy": f"sum(rate(nv_inference_compute_infer_duration_us{{{DETECTION}}}[1m])) / 1e6",
    "triton-detection/queue": f"sum(rate(nv_inference_queue_duration_us{{{DETECTION}}}[1m])) / 1e6",
    "triton-classification/busy": f"sum(rate(nv_inference_compute_infer_duration_us{{{CLASSIFICATION}}}[1m])) / 1e6",
    "triton-classification/queue": f"sum(rate(nv_inference_queue_duration_us{{{CLASSIFICATION}}}[1m])) / 1e6",
}
"""What each signal is, summed over the replicas of a role. Rates of microseconds over 1e6 are requests on average."""


def ask(seconds: float, callers: int) -> dict[str, float | None]:
    """What each query gives after so long a load."""
    with tempfile.TemporaryDirectory() as name, stack(Path(name), "default") as state:
        folder = Path(name)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        jobs = [
            {"job_name": job, "static_configs": [{"targets": [service["metrics_address"]]}]}
            for job, service in state["services"].items()
        ]
        settings = {"global": {"scrape_interval": "2s"}, "scrape_configs": jobs}
        (folder / "prometheus.yml").write_text(json.dumps(settings))
        prometheus = subprocess.Popen(
            [
                str(shutil.which("prometheus")),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        values: dict[str, float | None] = {}

        def look() -> None:
            values.update({name: _value(address, query) for name, query in QUERIES.items()})

        try:
            # A deadline that cannot be kept by all: some of the calls are refused.
            plan = Plan(Target(GATEWAY, state["address"], 1.0), images.generated(12).files)
            generate(closed_loop, plan, seconds, callers, meanwhile=look)
        finally:
            prometheus.terminate()
            prometheus.wait()
    return values


def _value(address: str, query: str) -> float | None:
    """The query's single value, as KEDA reads it; None when there is none."""
    url = f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    except OSError:
        return None
    return float(found[0]["value"][1]) if len(found) == 1 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=25.0)
    parser.add_argument("--callers", type=int, default=48)
    parser.add_argument("--json", type=Path, default=Path("docs/scaling/queries.json"))
    arguments = parser.parse_args()
    if shutil.which("prometheus") is None:
        sys.exit("prometheus is not installed")
    began = time.monotonic()
    values = ask(arguments.seconds, arguments.callers)
    rows = [{"name": name, "query": QUERIES[name], "value": value} for name, value in values.items()]
    arguments.json.write_text(
        json.dumps({**facts(), "seconds": round(time.monotonic() - began), "queries": rows}, indent=1) + "\n"
    )
    if silent := [name for name, value in values.items() if value is None]:
        sys.exit(f"no data: {', '.join(silent)}")


if __name__ == "__main__":
    main()
