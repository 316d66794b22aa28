"""Our gateway and a peer under the same load in turns: who does more, and how long each call takes.

Each peer is measured next to our own stack, which runs all the while and has nothing to do while the peer has its turn.
"""

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks import call_load
from benchmarks.apart import Apart
from benchmarks.call_load import Load, Plan, loading
from benchmarks.claims import claim
from benchmarks.footprint import groups, stack
from benchmarks.images import Images
from benchmarks.machine import commit
from benchmarks.peers.answers import FieldAnswer
from benchmarks.peers.callers import GATEWAY, Target
from benchmarks.peers.checking import agreement, answers
from benchmarks.peers.loads import Scenario, in_turn, latencies, per_second, small_images
from benchmarks.peers.running import named, peer
from benchmarks.peers.settings import Settings
from benchmarks.rounds import interleaved, ratio, spread

WAITING: Final = {"HEMASERVE_GATEWAY_FIELDS_WAITING": "128"}
"""Peers refuse nobody. So that all callers wait on both sides, our gateway's queue is made long enough for them."""

WARM_S: Final = 2.0

FLASKS: Final = ("flask", "flask_development")
FASTER, MIXED, EAGER = 0.95, 1.25, 5.0
"""The bars: our fields a second over the best peer's, the same under mixed load, and over PyTorch eager's."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One of the two.

    Attributes:
        target: how it is asked.
        processes: all its processes at this moment.
    """

    target: Target
    processes: Callable[[], Sequence[psutil.Process]]

    def cpu_s(self) -> float:
        """Processor seconds of its processes so far."""
        return sum(sum(process.cpu_times()[:2]) for process in self.processes())

    def memory_mb(self) -> float:
        """What its processes take, shared pages divided among those that share them (PSS)."""
        return round(sum(process.memory_full_info().pss for process in self.processes()) / 1e6, 1)


@dataclass(frozen=True, slots=True)
class Round:
    """Some load, and the processor seconds that whoever had to bear it spent."""

    load: Load
    cpu_s: float


@contextmanager
def our_stack() -> Iterator[Contender]:
    """Our own stack of the default profile."""
    os.environ |= WAITING
    with tempfile.TemporaryDirectory() as folder, stack(Path(folder), "default") as state:
        yield Contender(
            Target(GATEWAY, state["address"]),
            lambda: [process for group in groups(state).values() for process in group],
        )


@contextmanager
def a_peer(name: str, settings: Settings | None = None) -> Iterator[Contender]:
    """A peer with its own settings or these."""
    with peer(name, settings) as running:
        yield Contender(running.target, running.processes)


def compare(
    name: str,
    ours: Contender,
    images: Images,
    our_answers: Sequence[FieldAnswer],
    todo: Mapping[str, Scenario],
    *,
    rounds: int,
    seconds: float,
) -> dict[str, Any]:
    """Everything about one peer.

    Args:
        our_answers: what our gateway says of the fields.
        todo: the load by name.
        seconds: of each round.
    """
    mixed = in_turn(images.files, small_images(images.files, our_answers))
    found: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "settings": asdict(named(name).settings),
    }
    with a_peer(name) as theirs:
        agreed = agreement(our_answers, answers(theirs.target, images.files))
        found["agreement"] = asdict(agreed)
        contenders = {"ours": ours, "theirs": theirs}
        for scenario_name, scenario in todo.items():
            files = mixed if scenario.small else images.files
            found[scenario_name] = _measured(contenders, scenario, files, rounds=rounds, seconds=seconds)
        found["memory_mb"] = {side: contender.memory_mb() for side, contender in contenders.items()}
    return found


def _measured(
    contenders: Mapping[str, Contender],
    scenario: Scenario,
    files: tuple[bytes, ...],
    *,
    rounds: int,
    seconds: float,
) -> dict[str, Any]:
    with ExitStack() as held:
        loads = {
            side: held.enter_context(Apart(loading, Plan(contender.target, files)))
            for side, contender in contenders.items()
        }

        def a_round(side: str, length: float) -> Round:
            before = contenders[side].cpu_s()
            load = call_load.run(loads[side], scenario.kind, length, scenario.how_much)
            return Round(load, contenders[side].cpu_s() - before)

        for side in contenders:
            a_round(side, WARM_S)
        measured = interleaved({side: partial(a_round, side, seconds) for side in contenders}, rounds)
    speeds = {side: [per_second(each.load) for each in of_side] for side, of_side in measured.items()}
    return {
        "how_much": scenario.how_much,
        "ratio": ratio(speeds["ours"], speeds["theirs"]),
        **{side: _side(measured[side], speeds[side]) for side in contenders},
    }


def _side(rounds: Sequence[Round], speeds: Sequence[float]) -> dict[str, Any]:
    calls = [call for each in rounds for call in each.load.calls]
    return {
        "fields_per_second": spread(speeds),
        "cpu_ms_per_field": round(1000 * sum(each.cpu_s for each in rounds) / max(1, len(calls)), 2),
        "load_cpu_ms_per_field": round(
            1000 * sum(each.load.cpu_s for each in rounds) / max(1, len(calls)), 2
        ),
        **latencies(calls),
    }


def claims(peers: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the figures of some peers show."""
    found = []
    if servers := {name: each for name, each in peers.items() if name not in FLASKS}:
        callers = min(each["mixed"]["how_much"] for each in servers.values())
        mixed = f"Fields a second, {callers:g} callers, mixed priorities, small requests"
        found += [
            _over_the_best(servers, "saturation", FASTER, "Fields a second at saturation"),
            _over_the_best(servers, "mixed", MIXED, mixed),
            _stat(servers),
        ]
    found += [_over(peers, name, EAGER) for name in FLASKS if name in peers]
    return found


def _over_the_best(peers: Mapping[str, Any], scenario: str, bar: float, what: str) -> dict[str, Any]:
    name = min(peers, key=lambda each: float(peers[each][scenario]["ratio"]["median"]))
    measured = peers[name][scenario]
    ours_ms, theirs_ms = (measured[side]["all"].get("p99_ms", 0.0) for side in ("ours", "theirs"))
    met = measured["ratio"]["median"] >= bar and (scenario == "saturation" or ours_ms <= theirs_ms)
    also = "" if scenario == "saturation" else f", p99 of all {ours_ms:.0f} against {theirs_ms:.0f} ms"
    return claim(
        f"{what}, over the best peer ({name})", f"at least {bar}", _said(measured["ratio"]) + also, holds=met
    )


def _stat(peers: Mapping[str, Any]) -> dict[str, Any]:
    def p99(name: str, side: str) -> float:
        return float(peers[name]["mixed"][side]["stat"].get("p99_ms", float("inf")))

    name = min(peers, key=lambda each: p99(each, "theirs"))
    ours_ms, theirs_ms = p99(name, "ours"), p99(name, "theirs")
    return claim(
        f"The p99 of STAT calls under the same load, against the best peer's ({name})",
        "no worse",
        f"{ours_ms:.0f} against {theirs_ms:.0f} ms",
        holds=ours_ms <= theirs_ms,
    )


def _over(peers: Mapping[str, Any], name: str, bar: float) -> dict[str, Any]:
    measured = peers[name]["saturation"]["ratio"]
    return claim(
        f"Fields a second at saturation, over PyTorch eager ({name})",
        f"at least {bar:g}",
        _said(measured),
        holds=measured["median"] >= bar,
    )


def _said(measured: Mapping[str, Any]) -> str:
    return f"{measured['median']:.2f} ({measured['min']:.2f} to {measured['max']:.2f})"
