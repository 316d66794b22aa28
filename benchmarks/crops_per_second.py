"""How many crops a second each classifier names. `python -m benchmarks.crops_per_second`

Starts Triton on free ports with the embedded configuration and the classifiers of the repository, and sends each of
them batches, with so many under way that no instance waits; a batch is as large as the network takes it, but small
enough to be done several times in a round. What that could at most be is measured in turns with it: the same ONNX
files, run by the same code with as many threads, but in this process, without Triton and without gRPC. Rounds are short
and go through all networks, so that other work on the machine disturbs all alike: the ratio of the two, and the order
of the networks, can be trusted on a busy machine, the crops per second cannot.
"""

import argparse
import asyncio
import json
import logging
import statistics
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import psutil
import structlog
from rich.console import Console
from rich.table import Table

from benchmarks.classifiers import (
    CONFIG,
    INPUT,
    Classifier,
    classifiers,
    file_sizes,
    megabytes,
    named_classifiers,
)
from benchmarks.machine import cpu
from services.triton.backends.onnxruntime.onnx_network import Network, load
from services.triton.client import Array, TritonClient
from services.triton.embedded import embedded_triton

BATCHES_A_ROUND = 8
"""At least so many batches fit into a round: what is under way when it ends is then a small part of it."""


@dataclass(frozen=True)
class Speed:
    """What was measured of one classifier: medians over the rounds.

    Attributes:
        crops_per_second: through Triton.
        in_process: crops per second of the same networks in this process.
        ratio: through Triton / in process, each round against its own.
        ratio_range: the least and the greatest of the rounds.
        batch: crops in a request.
        side_px: side of a crop.
        file_mb: size of its ONNX files.
        sources: digests of all that answers, by model.
    """

    crops_per_second: float
    in_process: float
    ratio: float
    ratio_range: tuple[float, float]
    batch: int
    side_px: int
    file_mb: float
    sources: dict[str, str]


async def through_triton(triton: TritonClient, classifier: Classifier, seconds: float) -> float:
    """Crops per second with two requests under way for each instance."""
    end = time.perf_counter() + seconds
    batches = 0

    async def keep_asking() -> None:
        nonlocal batches
        while True:
            await triton.infer(classifier.name, {INPUT: classifier.batch}, classifier.outputs)
            batches += 1
            if time.perf_counter() >= end:
                return

    started = time.perf_counter()
    await asyncio.gather(*(keep_asking() for _ in range(2 * classifier.instances)))
    return batches * len(classifier.batch) / (time.perf_counter() - started)


class InProcess:
    """The networks of a classifier in this process: as many threads as Triton has instances, side by side as there."""

    def __init__(self, classifier: Classifier) -> None:
        self._threads = classifier.instances * len(classifier.files)
        self._networks: list[list[Network]] = [
            [
                load(file, options)[0]
                for file, options in zip(classifier.files, classifier.options, strict=True)
            ]
            for _ in range(classifier.instances)
        ]

    def crops_per_second(self, batch: Array, seconds: float) -> float:
        """Crops per second; a crop is done when all members of an ensemble have answered."""
        started = time.perf_counter()
        with ThreadPoolExecutor(self._threads) as members, ThreadPoolExecutor(len(self._networks)) as lanes:

            def keep_running(networks: Sequence[Network]) -> int:
                batches = 0
                while True:
                    answers = [members.submit(network.run, {INPUT: batch}) for network in networks]
                    for answer in answers:
                        answer.result()
                    batches += 1
                    if time.perf_counter() >= started + seconds:
                        return batches

            batches = sum(lanes.map(keep_running, self._networks))
        return batches * len(batch) / (time.perf_counter() - started)


def batch_size(crops_per_second: float, seconds: float, most: int) -> int:
    """Crops in a batch: a power of two, at most what the model takes, so that `BATCHES_A_ROUND` of them fit in a round.

    Args:
        crops_per_second: of the network, roughly.
        seconds: length of a round.
    """
    fitting = crops_per_second * seconds / BATCHES_A_ROUND
    size = 1
    while 2 * size <= min(fitting, most):
        size *= 2
    return size


@dataclass
class Contender:
    """A classifier under measurement, with what each round gave so far in crops per second."""

    classifier: Classifier
    ceiling: InProcess
    served: list[float] = field(default_factory=list)
    in_process: list[float] = field(default_factory=list)

    @classmethod
    async def ready(cls, triton: TritonClient, classifier: Classifier, seconds: float) -> Self:
        """Loaded, warmed up on both sides, and with a batch that suits its speed."""
        ceiling = await asyncio.to_thread(InProcess, classifier)
        await asyncio.to_thread(ceiling.crops_per_second, classifier.batch[:1], 0)
        few = classifier.batch[:4]
        rate = await asyncio.to_thread(ceiling.crops_per_second, few, seconds / BATCHES_A_ROUND)
        batch = classifier.batch[: batch_size(rate, seconds, len(classifier.batch))]
        classifier = replace(classifier, batch=batch)
        await asyncio.to_thread(ceiling.crops_per_second, batch, 0)
        await through_triton(triton, classifier, 0)
        return cls(classifier, ceiling)

    async def round(self, triton: TritonClient, seconds: float) -> None:
        """One round through Triton and one in this process."""
        self.served.append(await through_triton(triton, self.classifier, seconds))
        direct = await asyncio.to_thread(self.ceiling.crops_per_second, self.classifier.batch, seconds)
        self.in_process.append(direct)

    def speed(self) -> Speed:
        """The medians of the rounds."""
        ratios = [a / b for a, b in zip(self.served, self.in_process, strict=True)]
        return Speed(
            crops_per_second=round(statistics.median(self.served), 1),
            in_process=round(statistics.median(self.in_process), 1),
            ratio=round(statistics.median(ratios), 3),
            ratio_range=(round(min(ratios), 3), round(max(ratios), 3)),
            batch=len(self.classifier.batch),
            side_px=self.classifier.batch.shape[1],
            file_mb=megabytes(self.classifier.files),
            sources=self.classifier.sources,
        )


async def measure_all(
    repository: Path, only: Sequence[str], *, rounds: int, seconds: float
) -> dict[str, Any]:
    """Everything about the classifiers of a repository, or about those of them that are named."""
    names = named_classifiers(repository, only)
    # Other networks would only take memory.
    with embedded_triton(repository, config_name=CONFIG, models=tuple(names)) as server:
        async with TritonClient(server.grpc_address) as triton:
            described = {name: await triton.model_config(name) for name in await triton.models()}
            contenders = [
                await Contender.ready(triton, classifier, seconds)
                for classifier in classifiers(repository, names, described)
            ]
            for _ in range(rounds):
                for contender in contenders:
                    await contender.round(triton, seconds)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": psutil.cpu_count(),
        "cpu": cpu(),
        "rounds": rounds,
        "seconds": seconds,
        "networks": {each.classifier.name: asdict(each.speed()) for each in contenders},
        "file_mb": file_sizes(repository),
    }


def _table(figures: Mapping[str, Any]) -> Table:
    table = Table(title=f"{figures['cores']} cores, {figures['rounds']} rounds", title_justify="left")
    table.add_column("Network")
    for heading in (
        "Crops/s through Triton",
        "Crops/s in process",
        "Ratio",
        "Least to greatest",
        "Batch",
        "MB",
    ):
        table.add_column(heading, justify="right")
    for name, speed in figures["networks"].items():
        least, greatest = speed["ratio_range"]
        table.add_row(
            name,
            f"{speed['crops_per_second']:.0f}",
            f"{speed['in_process']:.0f}",
            f"{speed['ratio']:.2f}",
            f"{least:.2f} to {greatest:.2f}",
            str(speed["batch"]),
            f"{speed['file_mb']:.1f}",
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repository", type=Path, default=Path("model_repository"), help="Triton's models")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NETWORK", help="measure these classifiers only"
    )
    parser.add_argument("--rounds", type=int, default=3, help="pairs of rounds for each network")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a round")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    figures = asyncio.run(
        measure_all(arguments.repository, arguments.only, rounds=arguments.rounds, seconds=arguments.seconds)
    )
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    Console().print(_table(figures))


if __name__ == "__main__":
    main()
