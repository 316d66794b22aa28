"""What all panels of all dashboards show of a real stack under load, and what is drawn of it in the docs.

    python -m observability.record --minutes 3 [--images DIR]

Starts the stack and Prometheus, calls it, makes one network slow for a fifth of the time, and writes
docs/observability/panels.json. `python -m observability` draws it.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks.machine import facts
from observability.dashboards import DASHBOARDS
from observability.faults import slow
from observability.files import ROOT
from observability.load import fields
from observability.panels import Panel
from observability.pictures import DRAWN
from observability.prometheus import Prometheus
from observability.trial import called, trial
from observability.windows import Scale

RESULT: Final = ROOT / "docs" / "observability" / "panels.json"
EVERY_S: Final = 5.0
WINDOW: Final = "30s"
STEP_S: Final = 5.0
SLOW: Final = "xception"


def shown(prometheus: Prometheus, began: float, ended: float) -> dict[str, dict[str, int]]:
    """How many series each panel shows at any time, by dashboard and panel."""
    return {
        dashboard.name: {panel.title: _count(prometheus, panel, began, ended) for panel in dashboard.panels}
        for dashboard in DASHBOARDS
    }


def asked() -> dict[str, dict[str, list[str]]]:
    """The queries of each panel, by dashboard and panel."""
    return {
        dashboard.name: {
            panel.title: [query.expression for query in panel.queries] for panel in dashboard.panels
        }
        for dashboard in DASHBOARDS
    }


def empty(counted: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Panels that show nothing, though they must."""
    return [
        f"{dashboard.name}: {panel.title}"
        for dashboard in DASHBOARDS
        for panel in dashboard.panels
        if not counted[dashboard.name][panel.title] and not panel.may_be_empty
    ]


def _count(prometheus: Prometheus, panel: Panel, began: float, ended: float) -> int:
    """Series with a value that is a number; where a query of several gives none, 0."""
    counts = [
        sum(
            any(not math.isnan(value) for _, value in curve.points)
            for curve in prometheus.query_range(query.over(WINDOW), began, ended, STEP_S)
        )
        for query in panel.queries
    ]
    return min(counts) and sum(counts)


def curves(prometheus: Prometheus, began: float, ended: float) -> dict[str, Any]:
    """What the drawn panels show: by panel, by the curve's name, seconds and values."""
    return {
        panel.title: {
            _named(query.legend, curve.labels): [
                [round(at - began, 1), float(f"{value:.4g}")]
                for at, value in curve.points
                if not math.isnan(value)
            ]
            for query in panel.queries
            for curve in prometheus.query_range(query.over(WINDOW), began, ended, STEP_S)
        }
        for panel in DRAWN
    }


def _named(legend: str, labels: Mapping[str, str]) -> str:
    for name, value in labels.items():
        legend = legend.replace(f"{{{{{name}}}}}", value)
    return legend


def record(folder: Path, seconds: float, images: Path | None) -> dict[str, Any]:
    """Everything that the page is made of."""
    sent = fields(sorted(images.glob("*.jpg")) if images else ())
    with (
        trial(folder, Scale(every_s=EVERY_S), every_s=EVERY_S) as running,
        called(running.address, sent, pause_s=0.5) as load,
    ):
        began = time.time()
        time.sleep(seconds * 0.5)
        struck = time.time()
        with slow(SLOW, running.pid):
            time.sleep(seconds * 0.2)
        well = time.time()
        time.sleep(seconds * 0.3)
        ended = time.time()
        counted = shown(running.prometheus, began, ended)
        drawn = curves(running.prometheus, began, ended)
    return {
        "seconds": round(seconds),
        "slow": {"network": SLOW, "from_s": round(struck - began, 1), "to_s": round(well - began, 1)},
        "codes": dict(load.codes),
        "asked": asked(),
        "shown": counted,
        "empty": empty(counted),
        "curves": drawn,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m observability.record",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument(
        "--images", type=Path, metavar="DIR", help="JPEG fields; by default generated ones are sent"
    )
    parser.add_argument("--json", type=Path, default=RESULT, metavar="FILE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = record(Path(folder), arguments.minutes * 60, arguments.images)
    command = f"python -m observability.record --minutes {arguments.minutes:g}"
    if arguments.images:
        command += f" --images {arguments.images.parent.name}/{arguments.images.name}"
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(
        json.dumps({"command": command, **facts(), **found}, indent=1) + "\n", encoding="utf-8"
    )
    if found["empty"]:
        raise SystemExit(f"nothing to show: {', '.join(found['empty'])}")
    sys.stdout.write(f"{arguments.json}: {sum(map(len, found['shown'].values()))} panels\n")


if __name__ == "__main__":
    main()
