"""A real Prometheus on this machine, that scrapes a running stack, and what it answers."""

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from observability.files import DEPLOY

READY_TIMEOUT_S: Final = 30.0
RETENTION: Final = "35d"

Labels = Mapping[str, str]


class NotStarted(Exception):
    """Prometheus is missing or did not get ready; the message says which."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A series over time.

    Attributes:
        points: seconds since 1970 and values; NaN where the query gives NaN.
    """

    labels: Labels
    points: Sequence[tuple[float, float]]


class Prometheus:
    """What a running Prometheus answers.

    Args:
        url: e.g. `http://127.0.0.1:9090`.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def ready(self) -> bool:
        """Whether it answers queries."""
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:  # noqa: S310 - ours
                return bool(answer.status == 200)
        except OSError:
            return False

    def query(self, expression: str, at: float | None = None) -> list[tuple[Labels, float]]:
        """Values at one time, now by default."""
        asked = {"query": expression} | ({} if at is None else {"time": f"{at:.3f}"})
        found = self._get("query", asked)
        if found["resultType"] == "scalar":
            return [({}, float(found["result"][1]))]
        return [(one["metric"], float(one["value"][1])) for one in found["result"]]

    def query_range(self, expression: str, start: float, end: float, step_s: float) -> list[Curve]:
        """Values over time."""
        asked = {"query": expression, "start": f"{start:.3f}", "end": f"{end:.3f}", "step": f"{step_s:g}"}
        return [
            Curve(one["metric"], [(at, float(value)) for at, value in one["values"]])
            for one in self._get("query_range", asked)["result"]
        ]

    def alerts(self) -> list[Labels]:
        """Labels of all alerts that fire."""
        return [one["labels"] for one in self._get("alerts", {})["alerts"] if one["state"] == "firing"]

    def targets(self) -> list[dict[str, Any]]:
        """What is scraped, and how that goes."""
        found: list[dict[str, Any]] = self._get("targets", {"state": "active"})["activeTargets"]
        return found

    def _get(self, path: str, asked: Mapping[str, str]) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - ours
            return json.load(answer)["data"]


def targets(ready_file: Path) -> list[dict[str, Any]]:
    """The targets of a stack on this machine, as Prometheus' file discovery reads them.

    Args:
        ready_file: that `hemaserve up --ready-file` wrote.
    """
    replicas = json.loads(ready_file.read_text(encoding="utf-8"))["replicas"]
    return [
        {"targets": [one["metrics_address"] for one in each], "labels": {"job": name}}
        for name, each in replicas.items()
    ]


@contextlib.contextmanager
def running(
    folder: Path,
    scraped: Sequence[Mapping[str, Any]],
    *,
    rules: Path = DEPLOY / "rules",
    every_s: float | None = None,
    port: int | None = None,
) -> Iterator[Prometheus]:
    """Prometheus with our configuration, while the block runs.

    Args:
        folder: for its data.
        scraped: targets, see `targets`.
        rules: folder of its rules.
        every_s: how often it scrapes and evaluates, where that is not to be as configured.
        port: where it listens on the loopback; a free one by default.

    Raises:
        NotStarted: see there.
    """
    if (program := shutil.which("prometheus")) is None:
        raise NotStarted("there is no prometheus: it is Debian's and Ubuntu's package of that name")
    configuration = yaml.safe_load((DEPLOY / "prometheus.yml").read_text(encoding="utf-8"))
    configuration["rule_files"] = [f"{rules.absolute()}/*.yaml"]
    if every_s is not None:
        every = f"{round(every_s * 1000)}ms"
        configuration["global"] = {
            "scrape_interval": every,
            "scrape_timeout": every,
            "evaluation_interval": every,
        }
    (folder / "targets.json").write_text(json.dumps(scraped), encoding="utf-8")
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    address = f"127.0.0.1:{_free_port() if port is None else port}"
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [
                *(program, f"--config.file={folder / 'prometheus.yml'}", f"--web.listen-address={address}"),
                *(f"--storage.tsdb.path={folder / 'data'}", f"--storage.tsdb.retention.time={RETENTION}"),
                "--enable-feature=exemplar-storage",
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            prometheus = Prometheus(f"http://{address}")
            deadline = time.monotonic() + READY_TIMEOUT_S
            while not prometheus.ready():
                if process.poll() is not None or time.monotonic() > deadline:
                    said = (folder / "prometheus.log").read_text(encoding="utf-8").splitlines()[-5:]
                    raise NotStarted("\n".join(["prometheus did not get ready:", *said]))
                time.sleep(0.1)
            yield prometheus
        finally:
            process.terminate()
            process.wait(30)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
