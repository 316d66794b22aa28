"""A stack under measurement, and what it is measured against, side by side in one session."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil

from benchmarks import call_load
from benchmarks.apart import Apart
from benchmarks.call_load import Load, Plan
from benchmarks.classifiers import embedded_config
from benchmarks.footprint import groups, stack
from benchmarks.images import Images
from benchmarks.peers.callers import GATEWAY, OK, Target
from benchmarks.speed.networks import DETECTOR, VOTE, members
from benchmarks.speed.work import FieldWork, work_of
from services.triton.client import Array

DEADLINE_S: Final = 60.0
LEAD_SHARE: Final = 0.15
"""Of a round of load, what is not counted at its beginning: connections are made, and queues fill."""


@dataclass(frozen=True, slots=True)
class Session:
    """A stack of the default profile that is ready and warm.

    Attributes:
        state: what its ready file says.
        repository: its networks.
        images: the fields.
        work: what the networks are shown of each of them.
    """

    state: Mapping[str, Any]
    repository: Path
    images: Images
    work: list[FieldWork]

    @property
    def crops(self) -> Array:
        """Of all fields."""
        return np.concatenate([field.crops for field in self.work])

    def address(self, part: str) -> str:
        """Of a service, or of Triton."""
        return str(self.state["services"][part]["address"])

    def plan(self) -> Plan:
        """Load on its gateway."""
        return Plan(Target(GATEWAY, self.state["address"], DEADLINE_S), self.images.files)

    def watched(self, load: Apart, kind: Any, seconds: float, how_much: float) -> "Watched":
        """Some load on the gateway, and what it took of the processors."""
        found = groups(dict(self.state))
        before = {name: _cpu_s(group) for name, group in found.items()}
        done = call_load.run(load, kind, seconds, how_much)
        after = {name: _cpu_s(group) for name, group in found.items()}
        cpu_s = {name: sum(after[name]) - sum(before[name]) for name in found}
        system_s = {name: after[name][1] - before[name][1] for name in found}
        return Watched(done, cpu_s | {"load": done.cpu_s}, system_s)

    def facts(self) -> dict[str, Any]:
        """What the figures depend on besides the machine."""
        names = (DETECTOR, *members(self.repository), VOTE)
        return {
            "images": self.images.facts(),
            "pipeline": {
                "networks": {name: sha256(self.repository, name) for name in names},
                "squares_per_field": round(_mean([sum(map(len, field.squares)) for field in self.work]), 3),
                "crops_per_field": round(_mean([len(field.crops) for field in self.work]), 3),
            },
            "load_before": round(os.getloadavg()[0], 2),
        }


@dataclass(frozen=True, slots=True)
class Watched:
    """Load, and what the stack's processes did meanwhile.

    Attributes:
        load: what came of it.
        cpu_s: processor seconds of each process of the stack and of the load itself.
        system_s: that part of them that the kernel took, for copies, pages and switches.
    """

    load: Load
    cpu_s: Mapping[str, float]
    system_s: Mapping[str, float]

    @property
    def per_second(self) -> float:
        """Fields a second, without the beginning."""
        return self.load.per_second(LEAD_SHARE * self.load.took_s)

    def good_seconds(self) -> list[float]:
        """How long each field took.

        Raises:
            SystemExit: one was not answered, or none was asked for: nothing can be said of such a stack.
        """
        if failed := {call.outcome for call in self.load.calls} - {OK}:
            raise SystemExit(f"the stack did not answer all fields: {', '.join(sorted(failed))}")
        return self.load.seconds()

    def cpu_ms_per_field(self) -> dict[str, float]:
        """Of each process, for each field."""
        return {name: 1000 * seconds / len(self.load.calls) for name, seconds in self.cpu_s.items()}

    def system_ms_per_field(self) -> dict[str, float]:
        """The kernel's part of it."""
        return {name: 1000 * seconds / len(self.load.calls) for name, seconds in self.system_s.items()}


@contextmanager
def session(images: Images, repository: Path, *more: str) -> Iterator[Session]:
    """A stack with these networks, warmed up with these fields.

    Args:
        more: further arguments of `hemaserve up`.
    """
    with ExitStack() as held:
        folder = held.enter_context(tempfile.TemporaryDirectory())
        state = held.enter_context(
            stack(Path(folder), "default", "--model-repository", str(repository), *more)
        )
        work = work_of(images.files, state["services"]["triton"]["address"])
        yield Session(state, repository, images, work)


def sha256(repository: Path, name: str) -> str:
    """Digest of a network's file, as its configuration has it and Triton checks it."""
    return str(embedded_config(repository / name).parameters["sha256"].string_value)


def outputs(repository: Path, name: str) -> tuple[str, ...]:
    """What the classifier service asks of the ensemble, receipts included."""
    return tuple(entry.name for entry in embedded_config(repository / name).output)


def write(path: Path, document: Mapping[str, Any]) -> None:
    """Results as JSON, for people too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _cpu_s(group: list[psutil.Process]) -> tuple[float, float]:
    """User and system."""
    times = [process.cpu_times() for process in group]
    return sum(each.user for each in times), sum(each.system for each in times)


def _mean(values: list[int]) -> float:
    return sum(values) / len(values)
