"""The networks in a process of their own: no service, no Triton, no gRPC. Ceiling (a), and single networks.

The same ONNX files by the same code, in the same precision, on the same squares and crops as on their way through the
services; but in batches as large as suits the machine best, and arranged over its cores as suits it best.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.apart import Apart
from benchmarks.classifiers import embedded_config, embedded_options
from benchmarks.peers.describing import describe
from benchmarks.peers.openvino_networks import OpenVinoNetworks
from benchmarks.peers.pipeline import Pipeline
from benchmarks.speed.work import FieldWork
from services.triton.backends.onnxruntime.onnx_network import Network, Options, load
from services.triton.client import Array

DETECTOR: Final = "yolov8n"
ENSEMBLE: Final = "ensemble"
VOTE: Final = "vote"
SQUARES: Final = (1, 2, 4, 8)
CROPS: Final = (4, 8, 16, 32, 64)


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How networks are spread over the cores: so many of each at one time, with so many threads each."""

    lanes: int
    threads: int


def arrangements(cores: int) -> list[Arrangement]:
    """All that use every core evenly: many lanes of one thread, to one lane of many threads."""
    return [Arrangement(lanes, cores // lanes) for lanes in range(cores, 0, -1) if cores % lanes == 0]


class Lanes:
    """Networks, once for each lane.

    Args:
        options: how each is run, by name; the threads are the arrangement's.
    """

    def __init__(self, repository: Path, options: Mapping[str, Options], arrangement: Arrangement) -> None:
        self._lanes = [
            {
                name: load(onnx_file(repository, name), replace(each, threads=arrangement.threads))[0]
                for name, each in options.items()
            }
            for _ in range(arrangement.lanes)
        ]

    def per_second(self, jobs: Sequence[Callable[[Mapping[str, Network]], None]], seconds: float) -> float:
        """How often a second all the jobs are done, over and over, each by whichever lane is free."""
        taken = count()
        lock = threading.Lock()
        done = 0
        began = time.perf_counter()

        def work(networks: Mapping[str, Network]) -> None:
            nonlocal done
            while time.perf_counter() - began < seconds:
                with lock:
                    job = jobs[next(taken) % len(jobs)]
                job(networks)
                with lock:
                    done += 1

        with ThreadPoolExecutor(len(self._lanes)) as pool:
            list(pool.map(work, self._lanes))
        return done / len(jobs) / (time.perf_counter() - began)

    @property
    def first(self) -> Mapping[str, Network]:
        """The networks of one lane."""
        return self._lanes[0]


def members(repository: Path) -> list[str]:
    """Of the default classifier."""
    return list(embedded_config(repository / ENSEMBLE).parameters["members"].string_value.split(","))


def with_a_file(repository: Path) -> list[str]:
    """Names of all networks but ensembles, which have no file of their own."""
    return sorted({path.parent.parent.name for path in repository.glob("*/*/model.onnx")})


def onnx_file(repository: Path, name: str) -> Path:
    """Of the newest version."""
    return max(repository.glob(f"{name}/*/model.onnx"), key=lambda path: int(path.parent.name))


def pipeline(repository: Path, work: Sequence[FieldWork], arrangement: Arrangement) -> Callable[..., Any]:
    """Prepare a process to be the default pipeline's networks; asked by the names of `_Pipeline`'s methods."""
    ceiling = _Pipeline(repository, work, arrangement)

    def act(what: str, *arguments: Any) -> Any:
        return getattr(ceiling, what)(*arguments)

    return act


class _Pipeline:
    def __init__(self, repository: Path, work: Sequence[FieldWork], arrangement: Arrangement) -> None:
        self._members = members(repository)
        names = (DETECTOR, *self._members, VOTE)
        self._lanes = Lanes(
            repository, {name: embedded_options(repository, name) for name in names}, arrangement
        )
        self._work = work
        self._squares = np.concatenate([batch for field in work for batch in field.squares])
        self._crops = np.concatenate([field.crops for field in work])
        self._batches = (SQUARES[0], CROPS[0])

    def choose(self, seconds: float) -> dict[str, Any]:
        """Try batches of each size for so long, keep the best, and tell what was tried: rows a second by size."""
        squares = {
            size: self._lanes.per_second(self._looking(size)[:1], seconds) * size
            for size in SQUARES
            if size <= len(self._squares)
        }
        crops = {
            size: self._lanes.per_second(self._naming(size)[:1], seconds) * size
            for size in CROPS
            if size <= len(self._crops)
        }
        self._batches = (max(squares, key=squares.__getitem__), max(crops, key=crops.__getitem__))
        return {"squares": squares, "crops": crops, "batches": self._batches}

    def fields_per_second(self, seconds: float) -> float:
        """Fields a second, each with its squares, its crops and the vote, in the chosen batches."""
        squares, crops = self._batches
        jobs = _mixed(self._looking(squares), self._naming(crops))
        return self._lanes.per_second(jobs, seconds) * len(self._work)

    def one_at_a_time(self, seconds: float) -> dict[str, float]:
        """Mean milliseconds of each network for a field, in the batches of the services, one after the other."""
        took = dict.fromkeys((DETECTOR, *self._members, VOTE), 0.0)
        networks = self._lanes.first
        began, rounds = time.perf_counter(), 0
        while not rounds or time.perf_counter() - began < seconds:
            rounds += 1
            for field in self._work:
                for batch in field.squares:
                    took[DETECTOR] += _seconds(networks[DETECTOR], {"images": batch})
                if len(field.crops):
                    for name in self._members:
                        took[name] += _seconds(networks[name], {"crops": field.crops})
                    took[VOTE] += _seconds(networks[VOTE], self._votes(len(field.crops)))
        return {name: 1000 * each / rounds / len(self._work) for name, each in took.items()}

    def _looking(self, size: int) -> list[Callable[[Mapping[str, Network]], None]]:
        def job(batch: Array) -> Callable[[Mapping[str, Network]], None]:
            return lambda networks: _ignore(networks[DETECTOR].run({"images": batch}))

        return [job(batch) for batch in _batches(self._squares, size)]

    def _naming(self, size: int) -> list[Callable[[Mapping[str, Network]], None]]:
        def job(batch: Array) -> Callable[[Mapping[str, Network]], None]:
            def name_them(networks: Mapping[str, Network]) -> None:
                for name in self._members:
                    networks[name].run({"crops": batch})
                networks[VOTE].run(self._votes(len(batch)))

            return name_them

        return [job(batch) for batch in _batches(self._crops, size)]

    def _votes(self, rows: int) -> dict[str, Array]:
        # What it is told does not change how long it takes.
        told: dict[str, Array] = {}
        for name in self._members:
            told[name] = np.full((rows, 11), 1 / 11, np.float32)
            told[f"{name}_ood"] = np.ones((rows, 1), np.float32)
        return told


def whole_pipeline(repository: Path, images: Sequence[bytes]) -> Callable[..., Any]:
    """Prepare a process to be the pipeline from image file to answer, on one core; it tells fields a second.

    Decoding, scaling, NMS, crops and what is said of a cell are the services' own functions, called one after another.
    """
    pipeline = Pipeline(description := describe(repository), OpenVinoNetworks(description, threads=1))

    def act(seconds: float) -> float:
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            pipeline.analyze([images[done % len(images)]])
            done += 1
        return done / (time.perf_counter() - began)

    return act


def side_by_side(processes: Sequence[Apart], *request: Any) -> list[Any]:
    """What each of several processes answers to the same request, all of them at the same time."""
    with ThreadPoolExecutor(len(processes)) as pool:
        return [answer for answer, _ in pool.map(lambda process: process.do(*request), processes)]


def single(
    repository: Path, name: str, options: Options, crops: Array, arrangement: Arrangement
) -> Callable[..., Any]:
    """Prepare a process to be one classifier; asked for seconds, it tells crops a second for each size of batch."""
    lanes = Lanes(repository, {name: options}, arrangement)

    def act(seconds: float, sizes: Sequence[int]) -> dict[int, float]:
        found = {}
        for size in sizes:
            batch = np.resize(crops, (size, *crops.shape[1:]))
            job = _asking(name, batch)
            found[size] = lanes.per_second([job], seconds) * size
        return found

    return act


def _asking(name: str, batch: Array) -> Callable[[Mapping[str, Network]], None]:
    return lambda networks: _ignore(networks[name].run({"crops": batch}))


def _batches(rows: Array, size: int) -> list[Array]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def _mixed(one: Sequence[Any], other: Sequence[Any]) -> list[Any]:
    """Both, as evenly as can be, so that any stretch of them has as much of each."""
    places = [(place / len(jobs), job) for jobs in (one, other) for place, job in enumerate(jobs)]
    return [job for _, job in sorted(places, key=lambda pair: pair[0])]


def _seconds(network: Network, inputs: Mapping[str, Array]) -> float:
    began = time.perf_counter()
    network.run(inputs)
    return time.perf_counter() - began


def _ignore(_: object) -> None:
    pass


@dataclass(slots=True)
class Ceiling:
    """One arrangement of the pipeline in its process, and what was found of it."""

    arrangement: Arrangement
    process: Apart
    chosen: dict[str, Any]

    def fields_per_second(self, seconds: float) -> float:
        """One round."""
        rate, _ = self.process.do("fields_per_second", seconds)
        return float(rate)

    def facts(self) -> dict[str, Any]:
        """How it is arranged, and what was tried."""
        return {**asdict(self.arrangement), **self.chosen}
